// What the pointer and the keys do on the stage: point, rectangle, lasso, cut, paint, rub out, move.

export const TOOLS = [
  ["point", "Point", "v", "Take the segment; again: its parent. Shift adds, Alt goes down"],
  ["rectangle", "Rectangle", "r", "Take the segments inside a rectangle"],
  ["lasso", "Lasso", "l", "Take the segments inside a line drawn around them"],
  ["cut", "Cut", "c", "Cut the chosen segment along a line across it, or between two strokes on its parts"],
  ["paint", "Paint", "b", "Paint on the chosen segment, or a new one"],
  ["rub", "Rub out", "e", "Make void what the brush covers"],
  ["grow", "Grow", "w", "Take the pixels like the one clicked; the wheel says how like, Enter takes them", "features"],
  ["move", "Move", "h", "Move the photo"],
];
const STILL = 4; // pixels that a click may move
const STROKES = new Set(["lasso", "cut", "paint", "rub", "rectangle"]);

export class Tools extends EventTarget {
  constructor(stage, element, drawing) {
    super();
    Object.assign(this, { stage, element, drawing, tool: "point", radius: 12 });
    this.pointers = new Map();
    this.stroke = null;
    this.marks = [];
    this.cursor = null;
    const listen = (name, handler) => element.addEventListener(name, handler.bind(this));
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancel);
    listen("pointerleave", () => this.say("hover", { piece: 0 }));
    element.addEventListener("wheel", this.wheel.bind(this), { passive: false });
    listen("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("drawn", () => this.draw());
  }

  say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
    this.element.style.cursor = tool === "move" ? "grab" : tool === "point" ? "default" : "crosshair";
    this.say("tool", tool);
  }

  cancel() {
    if (this.tool === "grow") this.say("let-go");
    this.stroke = null;
    this.marks = [];
    this.pointers.clear();
    this.draw();
  }

  // ---- the pointer

  down(event) {
    if (!this.stage.session || event.target.closest("button, a")) return;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    const place = this.stage.place(event);
    this.pointers.set(event.pointerId, place);
    this.began = { place, moved: false, panning: event.button === 1 || this.tool === "move" || this.isSpaceDown };
    this.stroke = null;
    if (this.pointers.size === 1 && STROKES.has(this.tool) && !this.began.panning && event.button === 0) {
      this.stroke = [this.stage.view.toImage(...place)];
    }
    event.preventDefault();
  }

  move(event) {
    if (!this.stage.session) return;
    const place = this.stage.place(event);
    const before = this.pointers.get(event.pointerId);
    this.pointer = place;
    if (!before) {
      this.say("hover", { piece: this.stage.painter.pieceAt(...place) });
      if (this.tool === "paint" || this.tool === "rub") this.draw();
      return;
    }
    if (this.pointers.size === 2) this.pinch(event.pointerId, place);
    else if (this.stroke) this.lengthen(event);
    else this.drag(before, place);
    this.pointers.set(event.pointerId, place);
  }

  lengthen(event) {
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      const point = this.stage.view.toImage(...this.stage.place(one));
      if (this.tool === "rectangle") this.stroke[1] = point;
      else this.stroke.push(point);
    }
    this.began.moved = true;
    this.draw();
  }

  drag(before, place) {
    const far = Math.hypot(place[0] - this.began.place[0], place[1] - this.began.place[1]) > STILL * this.stage.ratio;
    this.began.moved ||= far;
    if (!this.began.moved) return;
    this.stage.view.pan(place[0] - before[0], place[1] - before[1]);
    this.stage.moved();
  }

  pinch(id, place) {
    this.stroke = null;
    this.began.moved = true;
    const other = [...this.pointers].find(([key]) => key !== id)[1];
    const before = this.pointers.get(id);
    const distance = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
    const middle = [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    this.stage.view.zoom(distance(place, other) / distance(before, other), ...middle);
    this.stage.view.pan((place[0] - before[0]) / 2, (place[1] - before[1]) / 2);
    this.stage.moved();
  }

  up(event) {
    const place = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!place || this.pointers.size) return;
    if (this.stroke) this.finish(event);
    else if (this.began.moved || this.began.panning || event.button !== 0) return;
    else if (this.tool === "point") this.click(this.stage.painter.pieceAt(...place), event);
    else if (this.tool === "grow") this.say("grow", this.stage.view.toImage(...place).map(Math.floor));
  }

  wheel(event) {
    if (!this.stage.session) return;
    event.preventDefault();
    const size = event.deltaMode === 1 ? 30 : 1;
    if (this.tool === "grow" && this.isGrowing) return this.say("turn", -Math.sign(event.deltaY));
    const factor = Math.exp(-Math.sign(event.deltaY) * Math.min(0.5, Math.abs(event.deltaY * size) / 400));
    this.stage.view.zoom(factor, ...this.stage.place(event));
    this.stage.moved();
  }

  click(piece, { shiftKey, altKey }) {
    this.say("click", { piece, add: shiftKey, down: altKey });
  }

  // ---- strokes

  finish(event) {
    const stroke = this.stroke;
    this.stroke = null;
    if (this.tool === "rectangle") {
      const [[top, left], [bottom, right]] = [stroke[0], stroke[1] ?? stroke[0]];
      this.inside([[top, left], [top, right], [bottom, right], [bottom, left]], event);
    } else if (this.tool === "lasso") this.inside(stroke, event);
    else if (this.tool === "cut") this.cut(stroke);
    else this.say(this.tool, { stroke, radius: this.radius });
    this.draw();
  }

  // A line whose ends are outside the segment cuts it; two strokes within it mark its parts.
  cut(stroke) {
    const pieceOf = ([row, column]) => this.stage.painter.pieceAt(...this.stage.view.toScreen(row, column));
    this.marks.push(stroke);
    const pieces = stroke.map(pieceOf);
    this.say("cut", { strokes: this.marks, pieces, ends: [pieces[0], pieces.at(-1)] });
  }

  // How many pixels of the screen of each piece are inside a polygon, and how many there are at all.
  inside(points, { shiftKey }) {
    const { view, painter } = this.stage;
    const corners = points.map((point) => view.toScreen(...point));
    const path = new Path2D();
    corners.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    const canvas = new OffscreenCanvas(view.width, view.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fill(path);
    const mask = context.getImageData(0, 0, view.width, view.height).data;
    const [inside, seen] = [new Map(), new Map()];
    for (let i = 0; i < painter.ids.length; i++) {
      const piece = painter.ids[i];
      if (!piece) continue;
      seen.set(piece, (seen.get(piece) ?? 0) + 1);
      if (mask[4 * i + 3] > 127) inside.set(piece, (inside.get(piece) ?? 0) + 1);
    }
    this.say("inside", { inside, seen, area: 1 / view.scale ** 2, add: shiftKey });
  }

  // ---- the keyboard: a cursor instead of the pointer

  moveCursor(dx, dy, far) {
    const { view } = this.stage;
    const step = (far ? 40 : 8) * this.stage.ratio;
    this.cursor ??= view.toImage(view.width / 2, view.height / 2);
    let [x, y] = view.toScreen(...this.cursor);
    [x, y] = [x + dx * step, y + dy * step];
    const [inX, inY] = [Math.min(view.width - 2, Math.max(1, x)), Math.min(view.height - 2, Math.max(1, y))];
    if (x !== inX || y !== inY) {
      view.pan(inX - x, inY - y);
      this.stage.moved();
    }
    this.cursor = view.toImage(inX, inY);
    this.say("hover", { piece: this.stage.painter.pieceAt(inX, inY) });
    this.draw();
  }

  get isGrowing() {
    return Boolean(this.stage.painter.preview);
  }

  // Space sets a point of a stroke at the cursor, Enter takes the segment or ends the stroke.
  press(event) {
    if (!this.cursor) this.moveCursor(0, 0, false);
    const place = this.stage.view.toScreen(...this.cursor);
    if (this.tool === "grow") this.say("grow", this.cursor.map(Math.floor));
    else if (this.tool === "point" || this.tool === "move") this.click(this.stage.painter.pieceAt(...place), event);
    else if (event.key === " ") (this.stroke ??= []).push(this.cursor);
    else if (this.stroke?.length || this.tool === "paint" || this.tool === "rub") {
      this.stroke ??= [this.cursor];
      this.finish(event);
    }
    this.draw();
  }

  // ---- what is being drawn

  draw() {
    const { view } = this.stage;
    const ratio = this.stage.ratio ?? 1;
    const onPage = (point) => view.toScreen(...point).map((value) => (value / ratio).toFixed(1));
    const path = (points) => "M" + points.map((point) => onPage(point).join(",")).join("L");
    const shapes = [];
    const lines = this.stroke ? [...this.marks, this.stroke] : this.marks;
    for (const points of lines) {
      if (this.tool === "paint" || this.tool === "rub") {
        const width = (2 * this.radius * view.scale) / ratio;
        shapes.push(`<path class="brush" stroke-width="${width.toFixed(1)}" d="${path([...points, points.at(-1)])}"/>`);
        continue;
      }
      const isRectangle = this.tool === "rectangle" && points[1];
      const corners = isRectangle ? [points[0], [points[0][0], points[1][1]], points[1], [points[1][0], points[0][1]]] : points;
      const closed = isRectangle || this.tool === "lasso" ? "Z" : "";
      shapes.push(`<path class="under" d="${path(corners)}${closed}"/><path class="line" d="${path(corners)}${closed}"/>`);
    }
    const isBrush = this.tool === "paint" || this.tool === "rub";
    if (isBrush && this.pointer && !this.stroke) shapes.push(this.circle(this.pointer.map((v) => v / ratio), ratio));
    if (this.cursor) {
      const [x, y] = onPage(this.cursor);
      const cross = `M${x - 9},${y}h18M${x},${y - 9}v18`;
      shapes.push(`<path class="cursor-under" d="${cross}"/><path class="cursor" d="${cross}"/>`);
    }
    this.drawing.innerHTML = shapes.join("");
  }

  circle([x, y], ratio) {
    const radius = Math.max(1, (this.radius * this.stage.view.scale) / ratio).toFixed(1);
    const at = `cx="${x}" cy="${y}" r="${radius}"`;
    return `<circle class="cursor-under" ${at}/><circle class="cursor" ${at}/>`;
  }
}
