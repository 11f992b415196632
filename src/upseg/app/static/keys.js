// Every key, and the overlay that lists them.

import { byId, make } from "./page.js";
import { TOOLS } from "./tools.js";

const POINTER_HELP = [
  ["Click", "Take the segment; again: the segment that it is a part of; and so on"],
  ["Shift click", "Add a segment, or let one go that is chosen"],
  ["Alt click", "Down again: a smaller part below the pointer"],
  ["Wheel, pinch", "Zoom"],
  ["Drag, Space drag", "Move the photo"],
];

const shown = (key) => (key.length > 1 ? key.replaceAll("+", " ") : key);

export class Keys {
  // `actions`: [key, what it does, function]; Ctrl and Shift are written before the key.
  constructor(actions, tools, stage) {
    this.table = new Map(actions.map(([keys, , act]) => keys.split(" or ").map((key) => [key.toLowerCase(), act])).flat());
    Object.assign(this, { tools, stage });
    document.addEventListener("keydown", (event) => this.down(event));
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") tools.isSpaceDown = false;
    });
    byId("help-button").addEventListener("click", () => byId("help").showModal());
    const rows = [
      ...POINTER_HELP,
      ...TOOLS.map(([, name, key, about]) => [key.toUpperCase(), `${name}: ${about}`]),
      ["Arrows", "Move the cursor on the photo; with Shift farther"],
      ["Enter", "Take the segment below the cursor (Shift adds, Alt goes down), or end a stroke"],
      ["Space", "Set a point of a stroke at the cursor"],
      ...actions.map(([keys, about]) => [keys.split(" or ").map(shown).join(" or "), about]),
    ];
    const body = rows.map(([keys, about]) => make("tr", {}, make("th", { scope: "row" }, keys), make("td", {}, about)));
    byId("keys").replaceChildren(make("table", {}, make("tbody", {}, ...body)));
  }

  down(event) {
    const { target } = event;
    const isTyping = target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (byId("help").open || (isTyping && event.key !== "Escape")) return;
    const onStage = target === this.tools.element || target === document.body;
    if (onStage && this.stage.session && this.onStage(event)) {
      event.preventDefault();
      return;
    }
    const parts = [event.ctrlKey || event.metaKey ? "ctrl" : "", event.shiftKey ? "shift" : "", event.key.toLowerCase()];
    const act = this.table.get(parts.filter(Boolean).join("+")) ?? (event.ctrlKey || event.metaKey ? null : this.table.get(event.key.toLowerCase()));
    const tool = TOOLS.find(([, , key]) => key === event.key && !event.ctrlKey && !event.metaKey);
    if (act && !(["enter", " "].includes(event.key.toLowerCase()) && target.matches("button"))) {
      event.preventDefault();
      act();
    } else if (tool) this.tools.choose(tool[0]);
  }

  onStage(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (way && !event.ctrlKey) {
      this.tools.moveCursor(...way, event.shiftKey);
      return true;
    }
    if (event.key === " ") this.tools.isSpaceDown = true;
    if (event.key !== "Enter" && event.key !== " ") return false;
    if (event.key === " " && !this.tools.cursor) return true;
    this.tools.press(event);
    return true;
  }
}
