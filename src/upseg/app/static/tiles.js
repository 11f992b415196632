// Tiles of an image or of its map of pieces; so many are kept, and those longest not looked at go first.

import { getBitmap, getBuffer } from "./api.js";

const MOST_TILES = 96;
const MOST_AT_A_TIME = 6;

export class Tiles {
  // `load(level, row, column)` gets one; `arrived` is called when one is there.
  constructor(load, arrived, most = MOST_TILES) {
    Object.assign(this, { load, arrived, most });
    this.kept = new Map();
    this.coming = new Map();
    this.waiting = [];
    this.stale = new Set();
  }

  get(level, row, column) {
    const key = `${level}/${row}/${column}`;
    const found = this.kept.get(key);
    if (found) {
      this.kept.delete(key);
      this.kept.set(key, found);
    }
    if ((!found || this.stale.has(key)) && !this.coming.has(key)) this.ask(key, [level, row, column]);
    return found;
  }

  ask(key, place) {
    this.coming.set(key, place);
    this.stale.delete(key);
    this.waiting.push(key);
    this.next();
  }

  next() {
    this.busy ??= 0;
    while (this.busy < MOST_AT_A_TIME && this.waiting.length) {
      const key = this.waiting.pop(); // what was asked for last is what is looked at
      this.busy += 1;
      this.load(...this.coming.get(key))
        .then((tile) => this.keep(key, tile))
        .catch(() => this.coming.delete(key))
        .finally(() => {
          this.busy -= 1;
          this.next();
        });
    }
  }

  keep(key, tile) {
    this.coming.delete(key);
    this.kept.get(key)?.close?.();
    this.kept.delete(key);
    this.kept.set(key, tile);
    while (this.kept.size > this.most) {
      const [oldest, gone] = this.kept.entries().next().value;
      this.kept.delete(oldest);
      gone.close?.();
    }
    this.arrived();
  }

  // What lies in a box of the image must be asked for again; until it comes the old tiles are shown.
  outdate([top, left, bottom, right], side) {
    for (const key of this.kept.keys()) {
      const [level, row, column] = key.split("/").map(Number);
      const reach = side * 2 ** level;
      const apart =
        row * reach >= bottom || (row + 1) * reach <= top || column * reach >= right || (column + 1) * reach <= left;
      if (!apart) this.stale.add(key);
    }
    for (const key of this.coming.keys()) this.stale.add(key);
  }
}

export function pictureTiles(session, layer, arrived) {
  const path = `/api/sessions/${session}/tiles/${layer}`;
  return new Tiles((level, row, column) => getBitmap(`${path}/${level}/${row}/${column}.jpg`), arrived);
}

export function pieceTiles(session, arrived) {
  const path = `/api/sessions/${session}/pieces`;
  return new Tiles(async (level, row, column) => new Int32Array(await getBuffer(`${path}/${level}/${row}/${column}`)), arrived);
}
