// Where the image stands on the screen: `scale` screen pixels for each of its own, `left` and `top` its first pixel.

const MOST_SCALE = 32;

export class View {
  constructor() {
    Object.assign(this, { width: 1, height: 1, imageWidth: 1, imageHeight: 1, scale: 1, left: 0, top: 0 });
  }

  fit() {
    this.scale = Math.min(this.width / this.imageWidth, this.height / this.imageHeight, MOST_SCALE);
    this.left = (this.width - this.imageWidth * this.scale) / 2;
    this.top = (this.height - this.imageHeight * this.scale) / 2;
  }

  get leastScale() {
    return Math.min(this.width / this.imageWidth, this.height / this.imageHeight, 1) / 2;
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(MOST_SCALE, Math.max(this.leastScale, this.scale * factor));
    const real = scale / this.scale;
    this.left = x - (x - this.left) * real;
    this.top = y - (y - this.top) * real;
    this.scale = scale;
    this.keepInside();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.keepInside();
  }

  // A quarter of the image at least stays on the screen.
  keepInside() {
    const [wide, high] = [this.imageWidth * this.scale, this.imageHeight * this.scale];
    const clamp = (value, size, room) => Math.min(room - Math.min(size, room) / 4, Math.max(Math.min(size, room) / 4 - size, value));
    this.left = clamp(this.left, wide, this.width);
    this.top = clamp(this.top, high, this.height);
  }

  // Row and column of the image at a point of the screen.
  toImage(x, y) {
    return [(y - this.top) / this.scale, (x - this.left) / this.scale];
  }

  toScreen(row, column) {
    return [column * this.scale + this.left, row * this.scale + this.top];
  }

  show([top, left, bottom, right]) {
    const [high, wide] = [Math.max(bottom - top, 8), Math.max(right - left, 8)];
    this.scale = Math.min(MOST_SCALE, 0.7 * Math.min(this.width / wide, this.height / high));
    this.left = this.width / 2 - ((left + right) / 2) * this.scale;
    this.top = this.height / 2 - ((top + bottom) / 2) * this.scale;
    this.keepInside();
  }

  // The size of tiles that has about one pixel for each of the screen.
  level(count) {
    return Math.min(count - 1, Math.max(0, Math.floor(Math.log2(1 / this.scale) + 0.25)));
  }
}
