// Growing: the pixels around a click whose features are like its own; the wheel says how like, Enter or a click takes them.

import { getBuffer } from "./api.js";

const FIRST_BANDWIDTH = 30; // degrees

export class Grow {
  constructor(stage, model) {
    Object.assign(this, { stage, model, bandwidth: FIRST_BANDWIDTH, seed: null });
  }

  get least() {
    return Math.max(0.004, Math.cos((this.bandwidth * Math.PI) / 180));
  }

  async start(row, column) {
    const { session } = this.stage;
    const query = `row=${row}&column=${column}&model=${encodeURIComponent(this.model())}`;
    const buffer = await getBuffer(`/api/sessions/${session.id}/likeness?${query}`);
    const [height, width] = new Int32Array(buffer, 0, 2);
    this.seed = { row, column };
    this.map = { height, width, values: new Uint8Array(buffer, 8) };
    this.show();
  }

  turn(steps) {
    this.bandwidth = Math.min(89, Math.max(1, this.bandwidth + steps));
    if (this.seed) this.show();
  }

  // What was grown, and forget it.
  end() {
    const { seed, least } = this;
    this.seed = null;
    this.stage.painter.preview = null;
    this.stage.draw();
    return seed && { ...seed, least };
  }

  show() {
    const { height, width, values } = this.map;
    const { imageHeight, imageWidth } = this.stage.view;
    const least = Math.round(255 * this.least);
    const first = Math.floor((this.seed.row * height) / imageHeight) * width + Math.floor((this.seed.column * width) / imageWidth);
    const found = new Uint8Array(values.length);
    const waiting = [first];
    found[first] = 1;
    while (waiting.length) {
      const at = waiting.pop();
      const column = at % width;
      for (const [next, isInside] of [[at - 1, column > 0], [at + 1, column < width - 1], [at - width, at >= width], [at + width, at + width < values.length]]) {
        if (isInside && !found[next] && values[next] >= least) {
          found[next] = 1;
          waiting.push(next);
        }
      }
    }
    this.stage.painter.preview = this.drawn(found, width, height);
    this.stage.draw();
  }

  drawn(found, width, height) {
    const picture = new ImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    const [red, green, blue] = this.stage.accent();
    const colour = ((150 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    for (let i = 0; i < found.length; i++) if (found[i]) pixels[i] = colour;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }
}
