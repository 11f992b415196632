// The panel beside the photo: what is chosen, the list of segments, and what becomes of them.

import { byId, make, number } from "./page.js";

const MOST_LISTED = 150;
const NEEDS_CHOICE = ["cutout", "join", "fill", "erase", "zoom-chosen", "unchoose", "class-name", "name"];

export class Panel {
  constructor(stage, { choose, hover }) {
    Object.assign(this, { stage, choose, hover });
    byId("list").addEventListener("pointerover", (event) => hover(Number(event.target.closest("button")?.value ?? 0)));
    byId("list").addEventListener("pointerleave", () => hover(0));
    byId("list").addEventListener("click", (event) => {
      const row = event.target.closest("button");
      if (row) choose(Number(row.value), event.shiftKey);
    });
  }

  // All of it anew: what is chosen, what can be done, the list.
  update() {
    const { segments, session } = this.stage;
    const chosen = segments ? segments.chosenKeys : [];
    const isChosen = segments ? segments.selected.indexOf(1) >= 0 : false;
    for (const id of NEEDS_CHOICE) byId(id).disabled = !isChosen;
    byId("segment").disabled = !session;
    byId("segment").textContent = segments ? "Segment again" : "Segment";
    for (const id of ["take", "truth"]) byId(id).disabled = !segments;
    byId("undo").disabled = !segments?.undo;
    byId("redo").disabled = !segments?.redo;
    byId("detail").disabled = !segments?.hasLevels;
    byId("detail-row").hidden = Boolean(segments) && !segments.hasLevels;
    if (segments) {
      byId("detail").value = segments.detail;
      byId("detail-value").textContent = segments.detail.toFixed(2);
    }
    this.tellChosen(segments, chosen, isChosen);
    this.list(segments, new Set(chosen));
  }

  tellChosen(segments, keys, isChosen) {
    const note = byId("chosen-note");
    if (!isChosen) note.textContent = segments ? "Nothing: click a segment." : "Nothing yet.";
    else {
      const area = segments.chosenArea;
      const name = keys.length === 1 ? segments.nameOf(keys[0]) : null;
      note.textContent = `${name ? `${name}, ` : ""}${number(area)} pixels in ${number(keys.length)} ${keys.length === 1 ? "segment" : "segments"}`;
    }
    byId("classes").replaceChildren(...(segments?.classes ?? []).map((value) => make("option", { value })));
  }

  // The rows are made anew when there are other segments; a choice only marks them.
  list(segments, chosen) {
    if (segments && this.listed === segments && this.version === segments.version) {
      for (const row of byId("list").querySelectorAll("button")) row.setAttribute("aria-pressed", String(chosen.has(Number(row.value))));
      return;
    }
    this.listed = segments;
    this.version = segments?.version;
    const totals = segments ? [...segments.totals].filter(([, area]) => area > 0) : [];
    byId("count").textContent = segments ? number(totals.length) : "";
    totals.sort((a, b) => b[1] - a[1]);
    const rows = totals.slice(0, MOST_LISTED).map(([key, area]) => this.row(segments, key, area, chosen.has(key)));
    if (totals.length > MOST_LISTED) rows.push(make("li", {}, make("small", {}, `and ${number(totals.length - MOST_LISTED)} smaller ones`)));
    byId("list").replaceChildren(...rows);
  }

  row(segments, key, area, isChosen) {
    const score = segments.scoreOf(key);
    const swatch = make("i");
    swatch.style.background = `rgb(${segments.colourOf(key).join(",")})`;
    const facts = `${number(area)} px${score === null ? "" : `, ${score.toFixed(2)}`}`;
    return make(
      "li",
      {},
      make("button", { value: key, "aria-pressed": String(isChosen) }, swatch, make("span", {}, segments.nameOf(key) ?? "segment"), make("small", {}, facts)),
    );
  }

  tellHover(piece) {
    const { segments } = this.stage;
    const key = segments?.owners[piece];
    if (!key) byId("hover").textContent = "";
    else {
      const score = segments.scoreOf(key);
      const told = [segments.nameOf(key) ?? "segment", `${number(segments.totals.get(key))} pixels`];
      byId("hover").textContent = [...told, ...(score === null ? [] : [`score ${score.toFixed(2)}`])].join(", ");
    }
  }
}
