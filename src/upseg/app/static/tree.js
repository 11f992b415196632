// The merge tree of a result, as `upseg.hierarchy` has it: nodes 0..R-1 are the atoms, the m-th merge is the node R + m.

const NOTICEABLE = 1.2; // a step up or down the tree that changes the area by less would not be seen

export class Tree {
  constructor(regions, merges, heights, scale) {
    Object.assign(this, { regions, merges, heights, scale });
    const count = heights.length;
    this.children = new Int32Array(2 * count);
    this.parents = new Int32Array(regions + count).fill(-1);
    const current = Int32Array.from({ length: regions }, (_, atom) => atom);
    for (let m = 0; m < count; m++) {
      for (const side of [0, 1]) {
        const child = current[merges[2 * m + side]];
        this.children[2 * m + side] = child;
        this.parents[child] = regions + m;
      }
      current[merges[2 * m]] = regions + m;
    }
    this.layOut(count);
  }

  // Atoms in an order in which each node has a range of its own: `order[start[n] .. start[n] + size[n]]`.
  layOut(count) {
    const { regions, children } = this;
    this.size = new Int32Array(regions + count).fill(1);
    for (let m = 0; m < count; m++) {
      this.size[regions + m] = this.size[children[2 * m]] + this.size[children[2 * m + 1]];
    }
    this.start = new Int32Array(regions + count);
    for (let m = count - 1; m >= 0; m--) {
      this.start[children[2 * m]] = this.start[regions + m];
      this.start[children[2 * m + 1]] = this.start[regions + m] + this.size[children[2 * m]];
    }
    this.order = new Int32Array(regions);
    for (let atom = 0; atom < regions; atom++) this.order[this.start[atom]] = atom;
  }

  height(detail) {
    return detail >= 1 ? -1 : this.scale * (1 - detail);
  }

  // For each atom the one that stands for its segment at a level of detail, 0 to 1.
  cut(detail) {
    const { merges, heights, regions } = this;
    const most = this.height(detail);
    const own = new Int32Array(regions);
    for (let atom = 0; atom < regions; atom++) own[atom] = atom;
    // the last merges first: whom a survivor belongs to is then known before its own members ask
    for (let m = heights.length - 1; m >= 0; m--) {
      if (heights[m] <= most) own[merges[2 * m + 1]] = own[merges[2 * m]];
    }
    return own;
  }

  // Pixels of each node, of those of the atoms (piece p is the atom p - 1).
  measure(areas) {
    this.areas = new Float64Array(this.parents.length);
    for (let atom = 0; atom < this.regions; atom++) this.areas[atom] = areas[atom + 1];
    for (let m = 0; m < this.heights.length; m++) {
      const [a, b] = [this.children[2 * m], this.children[2 * m + 1]];
      this.areas[this.regions + m] = this.areas[a] + this.areas[b];
    }
  }

  heightOf(node) {
    return node < this.regions ? -1 : this.heights[node - this.regions];
  }

  // The node that an atom belongs to at a level of detail.
  nodeAt(atom, detail) {
    const most = this.height(detail);
    let node = atom;
    while (this.parents[node] >= 0 && this.heightOf(this.parents[node]) <= most) node = this.parents[node];
    return node;
  }

  // The next node above that looks different; the same one at the top.
  up(node) {
    let above = node;
    while (this.parents[above] >= 0) {
      above = this.parents[above];
      const next = this.parents[above];
      const isWhole = next < 0 || this.heightOf(next) > this.heightOf(above);
      if (isWhole && this.areas[above] >= NOTICEABLE * this.areas[node]) return above;
    }
    return above;
  }

  // The next node below that looks different, on the way to an atom.
  down(node, atom) {
    const way = [atom];
    while (way.at(-1) !== node) way.push(this.parents[way.at(-1)]);
    for (const below of way.reverse().slice(1)) {
      if (this.areas[below] * NOTICEABLE <= this.areas[node]) return below;
    }
    return atom;
  }

  atomsOf(node) {
    return this.order.subarray(this.start[node], this.start[node] + this.size[node]);
  }
}
