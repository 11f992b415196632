// The stage: image, view and segments together, drawn again when something of it changed.

import { getBuffer, getJson } from "./api.js";
import { Painter } from "./painter.js";
import { Segments } from "./segments.js";
import { pieceTiles, pictureTiles } from "./tiles.js";
import { View } from "./view.js";

const MOST_PIXELS = 2_500_000; // of the canvas: screens with more are drawn at a lower resolution

export class Stage extends EventTarget {
  constructor(element, photo, overlay, palette) {
    super();
    Object.assign(this, { element, palette });
    this.view = new View();
    this.painter = new Painter(photo, overlay, this.view);
    this.session = null;
    this.segments = null;
    this.todo = new Set();
    new ResizeObserver(() => this.resize()).observe(element);
    this.resize();
  }

  resize() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !clientHeight) return;
    const most = Math.sqrt(MOST_PIXELS / (clientWidth * clientHeight));
    this.ratio = Math.min(window.devicePixelRatio || 1, Math.max(1, most));
    const wasFit = !this.session || this.isFit;
    this.painter.resize(Math.round(clientWidth * this.ratio), Math.round(clientHeight * this.ratio));
    if (wasFit) this.fit();
    else this.moved();
  }

  fit() {
    this.view.fit();
    this.moved();
    this.isFit = true;
  }

  moved() {
    this.isFit = false;
    this.draw("photo", "sample");
  }

  // Ask for parts to be drawn with the next frame: `photo`, `sample` (which includes the colours), `colours`.
  draw(...parts) {
    if (!this.todo.size) requestAnimationFrame(() => this.drawNow());
    for (const part of parts) this.todo.add(part);
    if (!parts.length) this.todo.add("colours");
  }

  drawNow() {
    const todo = this.todo;
    this.todo = new Set();
    if (todo.has("photo")) this.painter.drawPhoto();
    if (todo.has("sample")) this.painter.sample();
    this.painter.drawSegments(this.segments, { accent: this.accent() });
    this.dispatchEvent(new Event("drawn"));
    performance.mark("upseg-drawn");
  }

  accent() {
    const text = getComputedStyle(document.documentElement).getPropertyValue("--accent-rgb");
    return text.split(",").map(Number);
  }

  // Show a session, as `GET /api/sessions/ID` describes it.
  async open(facts) {
    const isSame = this.session?.id === facts.id;
    this.session = facts;
    this.layer = "picture";
    const pictures = isSame ? this.painter.pictures : pictureTiles(facts.id, "picture", () => this.draw("photo"));
    const pieces = facts.document ? pieceTiles(facts.id, () => this.draw("sample")) : null;
    this.segments = facts.document ? await this.read(facts) : null;
    this.painter.open(facts, pictures, pieces);
    if (isSame) this.draw("photo", "sample");
    else this.fit();
  }

  async read(facts) {
    const path = `/api/sessions/${facts.id}/arrays`;
    const names = ["areas", "boxes", "merges", "pairs", "heights"];
    const buffers = await Promise.all(names.map((name) => getBuffer(`${path}/${name}`)));
    const arrays = Object.fromEntries(
      names.map((name, i) => [name, name === "heights" ? new Float64Array(buffers[i]) : new Int32Array(buffers[i])]),
    );
    return new Segments(facts.document, arrays, this.palette);
  }

  async reload() {
    await this.open(await getJson(`/api/sessions/${this.session.id}`));
  }

  show(layer) {
    this.layer = layer;
    this.painter.pictures = pictureTiles(this.session.id, layer, () => this.draw("photo"));
    this.draw("photo");
  }

  // What the server says has changed; pixels that moved to other pieces are asked for again.
  take(told) {
    this.segments.take(told);
    if (told.box) {
      this.painter.pieces.outdate(told.box, this.session.tile);
      this.draw("sample");
    }
    this.draw();
  }

  // Pixels of the canvas for an event's place.
  place(event) {
    const box = this.element.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }
}
