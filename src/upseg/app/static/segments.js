// What is on the page of one image: which segment each piece belongs to, its colour, and what is chosen.

import { Tree } from "./tree.js";

const VOID_PIN = -1;

export function toRuns(numbers) {
  const runs = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === number) last[1] += 1;
    else runs.push([number, 1]);
  }
  return runs;
}

function grown(array, length) {
  if (array.length >= length) return array;
  const larger = new array.constructor(Math.max(length, Math.ceil(array.length * 1.5)));
  larger.set(array);
  return larger;
}

export class Segments {
  constructor(state, arrays, palette) {
    this.palette = palette;
    this.regions = state.regions;
    this.pieces = state.pieces;
    this.hasLevels = state.levels;
    this.facts = state.segments;
    this.areas = Float64Array.from(arrays.areas);
    this.boxes = arrays.boxes;
    this.pairs = arrays.pairs;
    this.pinned = new Int32Array(state.pieces + 1);
    for (const [first, count, key] of state.pinned) this.pinned.fill(key, first, first + count);
    this.selected = new Uint8Array(state.pieces + 1);
    this.owners = new Int32Array(state.pieces + 1);
    this.tree = new Tree(state.regions, arrays.merges, arrays.heights, state.scale);
    this.tree.measure(this.areas);
    this.place(state);
    this.showLevel(state.detail);
  }

  place({ detail, names, undo, redo, corrected }) {
    Object.assign(this, { detail, names, undo, redo, corrected });
    this.version = (this.version ?? 0) + 1;
  }

  // Take over what the server says has changed.
  take(told) {
    const length = told.pieces + 1;
    for (const name of ["areas", "pinned", "selected", "owners"]) this[name] = grown(this[name], length);
    this.boxes = grown(this.boxes, 4 * length);
    for (const [piece, area, ...box] of told.columns ?? []) {
      this.areas[piece] = area;
      this.boxes.set(box, 4 * piece);
    }
    if (told.pieces < this.pieces) this.selected.fill(0, length);
    this.pieces = told.pieces;
    for (const [first, count, key] of told.pins ?? []) {
      const last = Math.min(first + count, length);
      if (first < last) this.pinned.fill(key, first, last);
    }
    this.place(told);
    this.showLevel(told.detail);
  }

  // Follow the level of detail: colours and owners change, nothing is sent.
  showLevel(detail) {
    this.detail = detail;
    this.version += 1;
    const own = this.tree.cut(detail);
    const { owners, pinned } = this;
    owners[0] = 0;
    for (let piece = 1; piece <= this.pieces; piece++) {
      const pin = pinned[piece];
      owners[piece] = pin === 0 ? (piece <= this.regions ? own[piece - 1] + 1 : 0) : pin === VOID_PIN ? 0 : pin;
    }
    this.colour();
  }

  // Each segment has the colour of its key, or where a larger neighbour has that hue the next that none of them has.
  colour() {
    const { owners, pairs, areas, palette } = this;
    const hues = 7;
    const totals = new Map();
    for (let piece = 1; piece <= this.pieces; piece++) {
      const key = owners[piece];
      if (key) totals.set(key, (totals.get(key) ?? 0) + areas[piece]);
    }
    this.totals = totals;
    const around = new Map();
    const meet = (key, other) => (around.get(key) ?? around.set(key, new Set()).get(key)).add(other);
    for (let i = 0; i < pairs.length; i += 2) {
      const [a, b] = [owners[pairs[i]], owners[pairs[i + 1]]];
      if (a !== b && a && b) {
        meet(a, b);
        meet(b, a);
      }
    }
    this.numbers = new Map();
    for (const key of [...totals.keys()].sort((a, b) => totals.get(b) - totals.get(a) || a - b)) {
      const taken = new Set();
      for (const other of around.get(key) ?? []) {
        if (this.numbers.has(other)) taken.add(this.numbers.get(other) % hues);
      }
      const wanted = (key * 11) % palette.length;
      let number = wanted;
      for (let step = 0; step < hues; step++) {
        number = (wanted + step) % palette.length;
        if (!taken.has(number % hues)) break;
      }
      this.numbers.set(key, number);
    }
  }

  colourOf(key) {
    return this.palette[this.numbers.get(key) ?? 0];
  }

  nameOf(key) {
    return this.names[key] ?? this.facts[key]?.category?.[1] ?? null;
  }

  scoreOf(key) {
    return this.facts[key]?.score ?? null;
  }

  get classes() {
    const given = Object.values(this.facts).map((fact) => fact.category?.[1]);
    return [...new Set([...Object.values(this.names), ...given])].filter(Boolean).sort();
  }

  piecesOf(key) {
    const found = [];
    for (let piece = 1; piece <= this.pieces; piece++) if (this.owners[piece] === key) found.push(piece);
    return found;
  }

  boxOf(pieces) {
    const box = [Infinity, Infinity, 0, 0];
    for (const piece of pieces) {
      if (this.areas[piece] <= 0) continue;
      for (const side of [0, 1]) {
        box[side] = Math.min(box[side], this.boxes[4 * piece + side]);
        box[side + 2] = Math.max(box[side + 2], this.boxes[4 * piece + side + 2]);
      }
    }
    return box;
  }

  // ---- what is chosen

  get chosen() {
    const found = [];
    for (let piece = 1; piece <= this.pieces; piece++) if (this.selected[piece]) found.push(piece);
    return found;
  }

  get chosenRuns() {
    return toRuns(this.chosen);
  }

  get chosenKeys() {
    return [...new Set(this.chosen.map((piece) => this.owners[piece]))].filter(Boolean);
  }

  get chosenArea() {
    return this.chosen.reduce((sum, piece) => sum + this.areas[piece], 0);
  }

  clear() {
    this.selected.fill(0);
    this.clicked = null;
  }

  choose(pieces, on = 1) {
    for (const piece of pieces) this.selected[piece] = on;
  }

  // A click takes the segment at a piece; again its parent, `down` one of its parts; `add` keeps what is chosen.
  click(piece, { add = false, down = false } = {}) {
    if (!piece || !this.owners[piece]) {
      if (!add) this.clear();
      return;
    }
    if (add && this.selected[piece]) {
      this.choose(this.piecesOf(this.owners[piece]), 0);
      this.clicked = null;
      return;
    }
    const before = this.clicked;
    const isAgain = !add && Boolean(before?.mask[piece]);
    const nothing = new Uint8Array(this.selected.length);
    const kept = isAgain ? before.kept : add ? this.selected.slice() : nothing;
    const isPinned = this.pinned[piece] !== 0;
    const atom = piece - 1;
    let node = null;
    if (!isPinned) {
      node = this.tree.nodeAt(atom, this.detail);
      if (isAgain && before.node !== null) node = before.node;
      if (down) node = this.tree.down(isAgain ? node : this.tree.nodeAt(atom, this.detail), atom);
      else if (isAgain) node = this.tree.up(node);
    }
    const taken = node === null ? this.piecesOf(this.owners[piece]) : this.freeAtoms(node);
    this.selected = kept.slice();
    this.choose(taken);
    const mask = new Uint8Array(this.selected.length);
    for (const one of taken) mask[one] = 1;
    this.clicked = { node, kept, mask };
  }

  // The atoms of a node that no correction has taken, as pieces.
  freeAtoms(node) {
    return Array.from(this.tree.atomsOf(node), (atom) => atom + 1).filter((piece) => this.pinned[piece] === 0);
  }

  // All segments that lie inside: `inside` has the pixels of each piece on the screen that do, `seen` all of them, and
  // `area` is how many of the image each stands for. What reaches beyond the screen is not inside.
  chooseInside(inside, seen, area, { add = false } = {}) {
    if (!add) this.clear();
    const sums = new Map();
    for (const [counts, side] of [[inside, 0], [seen, 1]]) {
      for (const [piece, count] of counts) {
        const key = this.owners[piece];
        if (!key) continue;
        if (!sums.has(key)) sums.set(key, [0, 0]);
        sums.get(key)[side] += count;
      }
    }
    const taken = new Set();
    for (const [key, [within, all]] of sums) {
      if (within >= 0.9 * all && all * area >= 0.7 * this.totals.get(key)) taken.add(key);
    }
    for (let piece = 1; piece <= this.pieces; piece++) if (taken.has(this.owners[piece])) this.selected[piece] = 1;
    this.clicked = null;
    return taken.size;
  }
}
