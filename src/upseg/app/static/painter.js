// Drawing: the photo on one canvas, the segments on another above it. What is drawn is only what the screen shows, so
// that an image of any size costs the same.

const LIGHT = 0xd8ffffff; // of a border, as ABGR: along it a dark line, so that it shows on any photo
const DARK = 0x90000000;
const VEIL = 0.35; // what is left of the colours of segments that are not chosen, while others are

function abgr([red, green, blue], alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

export class Painter {
  constructor(photo, overlay, view) {
    Object.assign(this, { photo, overlay, view });
    this.options = { opacity: 0.45, outlines: true };
    this.hovered = 0;
  }

  resize(width, height) {
    for (const canvas of [this.photo, this.overlay]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.view.width = width;
    this.view.height = height;
    this.ids = new Int32Array(width * height);
    this.groups = new Int32Array(width * height);
    this.picture = new ImageData(width, height);
    this.pixels = new Uint32Array(this.picture.data.buffer);
  }

  open({ size, tile, levels }, pictures, pieces) {
    const [rows, columns] = size;
    Object.assign(this, { rows, columns, tile, levels, pictures, pieces });
    this.view.imageHeight = rows;
    this.view.imageWidth = columns;
  }

  drawPhoto() {
    const context = this.photo.getContext("2d", { alpha: false });
    context.fillStyle = getComputedStyle(this.photo).getPropertyValue("--stage").trim() || "#ddd";
    context.fillRect(0, 0, this.photo.width, this.photo.height);
    if (!this.pictures) return;
    context.imageSmoothingEnabled = this.view.scale < 3;
    const wanted = this.view.level(this.levels);
    for (const level of new Set([this.levels - 1, wanted])) this.drawLevel(context, level);
  }

  drawLevel(context, level) {
    const step = 2 ** level;
    const { view } = this;
    for (const [row, column] of this.visible(level)) {
      const bitmap = this.pictures.get(level, row, column);
      if (!bitmap) continue;
      const [x, y] = view.toScreen(row * this.tile * step, column * this.tile * step);
      const [right, bottom] = view.toScreen(
        Math.min(this.rows, row * this.tile * step + bitmap.height * step),
        Math.min(this.columns, column * this.tile * step + bitmap.width * step),
      );
      context.drawImage(bitmap, x, y, right - x, bottom - y);
    }
  }

  visible(level) {
    const side = this.tile * 2 ** level;
    const [top, left] = this.view.toImage(0, 0);
    const [bottom, right] = this.view.toImage(this.view.width, this.view.height);
    const found = [];
    for (let row = Math.max(0, Math.floor(top / side)); row * side < Math.min(this.rows, bottom); row++) {
      for (let column = Math.max(0, Math.floor(left / side)); column * side < Math.min(this.columns, right); column++) {
        found.push([row, column]);
      }
    }
    return found;
  }

  // Which piece each pixel of the screen shows: to be done again when the view moves or tiles come.
  sample() {
    this.ids.fill(0);
    if (!this.pieces) return;
    const wanted = this.view.level(this.levels);
    const top = this.levels - 1;
    for (const place of this.visible(wanted)) {
      const tile = this.pieces.get(wanted, ...place);
      if (tile) this.sampleTile(tile, wanted, place, wanted, place);
      else if (wanted !== top) this.sampleCoarse(wanted, place, top);
    }
  }

  // Until a tile comes its pixels are taken from the smallest size, which has one tile.
  sampleCoarse(level, place, coarse) {
    const tile = this.pieces.get(coarse, 0, 0);
    if (tile) this.sampleTile(tile, coarse, [0, 0], level, place);
  }

  sampleTile(tile, level, [tileRow, tileColumn], shownLevel, [row, column]) {
    const { view, ids } = this;
    const [step, side] = [2 ** level, this.tile * 2 ** shownLevel];
    const wide = Math.min(this.tile, Math.ceil(this.columns / step) - tileColumn * this.tile);
    const [left, top] = view.toScreen(row * side, column * side);
    const [right, bottom] = view.toScreen(Math.min(this.rows, (row + 1) * side), Math.min(this.columns, (column + 1) * side));
    const [x0, x1] = [Math.max(0, Math.ceil(left - 0.5)), Math.min(view.width, Math.ceil(right - 0.5))];
    const [y0, y1] = [Math.max(0, Math.ceil(top - 0.5)), Math.min(view.height, Math.ceil(bottom - 0.5))];
    const xs = new Int32Array(Math.max(0, x1 - x0));
    for (let x = x0; x < x1; x++) xs[x - x0] = Math.floor(view.toImage(x + 0.5, 0)[1] / step) - tileColumn * this.tile;
    for (let y = y0; y < y1; y++) {
      const from = (Math.floor(view.toImage(0, y + 0.5)[0] / step) - tileRow * this.tile) * wide;
      const to = y * view.width + x0;
      for (let i = 0; i < xs.length; i++) ids[to + i] = tile[from + xs[i]];
    }
  }

  // Colours and borders of what was sampled.
  drawSegments(segments, { accent }) {
    const context = this.overlay.getContext("2d");
    if (!segments) {
      context.clearRect(0, 0, this.overlay.width, this.overlay.height);
      return;
    }
    this.makeTables(segments, accent);
    const { ids, groups, pixels, groupOf, colourOf } = this;
    for (let i = 0; i < ids.length; i++) {
      groups[i] = groupOf[ids[i]];
      pixels[i] = colourOf[ids[i]];
    }
    if (this.options.outlines) this.drawBorders();
    context.putImageData(this.picture, 0, 0);
    if (this.preview) this.drawPreview(context);
  }

  drawPreview(context) {
    const [left, top] = this.view.toScreen(0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.preview, left, top, this.columns * this.view.scale, this.rows * this.view.scale);
  }

  makeTables(segments, accent) {
    const count = segments.pieces + 1;
    if (!this.groupOf || this.groupOf.length < count) {
      this.groupOf = new Int32Array(2 * count);
      this.colourOf = new Uint32Array(2 * count);
    }
    const isChosen = segments.selected.indexOf(1) >= 0;
    const alpha = Math.round(255 * (isChosen ? Math.max(0.5, this.options.opacity) : this.options.opacity));
    this.edge = abgr(accent, 255);
    const colours = new Map();
    for (let piece = 0; piece < count; piece++) {
      const key = segments.owners[piece];
      const chosen = segments.selected[piece];
      this.groupOf[piece] = 2 * key + chosen;
      if (!key) this.colourOf[piece] = 0;
      else if (chosen) this.colourOf[piece] = abgr(accent, 70);
      else {
        if (!colours.has(key)) {
          const lit = key === this.hovered ? Math.min(255, alpha + 70) : alpha;
          const colour = segments.colourOf(key).map((part) => (isChosen ? VEIL * part : part));
          colours.set(key, abgr(colour, lit));
        }
        this.colourOf[piece] = colours.get(key);
      }
    }
  }

  drawBorders() {
    const { groups, pixels, edge } = this;
    const { width, height } = this.view;
    // around what is chosen, whose groups are odd, the line has the accent's colour on both sides
    const draw = (i, j) => {
      const isEdge = (groups[i] ^ groups[j]) & 1;
      pixels[j] = isEdge ? edge : LIGHT;
      pixels[i] = isEdge ? edge : DARK;
    };
    for (let y = 1; y < height; y++) {
      const row = y * width;
      for (let i = row + 1; i < row + width; i++) {
        if (groups[i] !== groups[i - 1]) draw(i, i - 1);
        if (groups[i] !== groups[i - width]) draw(i, i - width);
      }
    }
  }

  pieceAt(x, y) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.view.width || row >= this.view.height) return 0;
    return this.ids[row * this.view.width + column];
  }
}
