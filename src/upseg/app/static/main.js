// The page: what was said to whom when something is clicked.

import { follow, getJson, post, remove, take } from "./api.js";
import { Corrections } from "./corrections.js";
import { Grow } from "./grow.js";
import { Keys } from "./keys.js";
import { byId, make, say, tried } from "./page.js";
import { Panel } from "./panel.js";
import { Stage } from "./stage.js";
import { Start } from "./start.js";
import { TOOLS, Tools } from "./tools.js";
import { Folder, Training } from "./work.js";

const about = await getJson("/api/about");
const stage = new Stage(byId("stage"), byId("photo"), byId("overlay"), about.palette);
const tools = new Tools(stage, byId("stage"), byId("drawing"));
const corrections = new Corrections(stage);
const grow = new Grow(stage, () => byId("model").value);
const panel = new Panel(stage, { choose: chooseKey, hover: lightUp });
let current = null; // the job that is being waited for
const folder = new Folder(about.photos, { opened: open, waited: wait, model: () => byId("model").value });
const start = new Start(about, open, folder);
const training = new Training({ waited: wait, learned });

// ---- opening

async function open(session) {
  const facts = await tried(() => getJson(`/api/sessions/${session.id}`));
  if (!facts) return;
  byId("welcome").hidden = true;
  history.replaceState(null, "", `/#${facts.id}`);
  await tried(() => stage.open(facts));
  byId("title").textContent = `${facts.name}, ${facts.size[1]} × ${facts.size[0]}`;
  byId("truth").checked = facts.truth;
  if (facts.model && about.models.some((model) => model.name === facts.model)) byId("model").value = facts.model;
  offerFeatures();
  folder.tell(facts);
  panel.update();
  if (!facts.document && !current) await segment();
}

async function segment() {
  if (stage.segments?.corrected && !confirm("Segment again? What was corrected in this photo is replaced.")) return;
  await anew(`segment?model=${encodeURIComponent(byId("model").value)}`);
}

// Begin a job of this photo, and show what came of it.
async function anew(path) {
  const { session } = stage;
  const job = await tried(() => post(`/api/sessions/${session.id}/${path}`));
  const over = job && (await tried(() => wait(job)));
  if (over?.status !== "done" || stage.session?.id !== session.id) return false;
  await open(session);
  return true;
}

async function wait(job, told = () => {}) {
  current = job;
  byId("job").hidden = false;
  const over = await follow(job, (now) => {
    told(now);
    const bar = byId("progress");
    if (now.total) Object.assign(bar, { max: now.total, value: now.done });
    else bar.removeAttribute("value");
    byId("job-note").textContent = now.note || { segment: "Segmenting", regroup: "Grouping", features: "Drawing features", folder: "Segmenting the folder", train: "Training" }[now.kind];
  });
  byId("job").hidden = true;
  current = null;
  if (over.status === "failed") say(over.error, "error");
  if (over.status === "cancelled") say("Stopped.");
  return over;
}

async function learned(model) {
  about.models = (await getJson("/api/about")).models;
  listModels();
  byId("model").value = model;
}

function listModels() {
  const options = about.models.map(({ name, description }) => make("option", { value: name, title: description }, name));
  byId("model").replaceChildren(...options);
}

// ---- choosing

// The picture first: the list can come a moment later.
function changed() {
  stage.draw();
  stage.addEventListener("drawn", () => setTimeout(() => panel.update()), { once: true });
}

function lightUp(key) {
  if (stage.painter.hovered === key) return;
  stage.painter.hovered = key;
  stage.draw();
}

function chooseKey(key, add) {
  const { segments } = stage;
  if (!add) segments.clear();
  const pieces = segments.piecesOf(key);
  segments.choose(pieces, segments.selected[pieces[0]] ? 0 : 1);
  changed();
}

function letGo() {
  tools.cancel();
  stage.segments?.clear();
  changed();
}

tools.addEventListener("hover", ({ detail }) => {
  panel.tellHover(detail.piece);
  lightUp(stage.segments?.owners[detail.piece] ?? 0);
});
tools.addEventListener("click", ({ detail }) => {
  if (!stage.segments) return;
  stage.segments.click(detail.piece, detail);
  changed();
});
tools.addEventListener("inside", ({ detail }) => {
  if (!stage.segments) return;
  stage.segments.chooseInside(detail.inside, detail.seen, detail.area, detail);
  changed();
});

// ---- correcting

function chosenOrSay() {
  const runs = stage.segments?.chosenRuns ?? [];
  if (!runs.length) say("Choose a segment first: click it.");
  return runs.length ? runs : null;
}

async function withChosen(kind) {
  const pieces = chosenOrSay();
  if (pieces) await corrections.edit(kind, { pieces });
}

function nameChosen(event) {
  event?.preventDefault();
  const { segments } = stage;
  if (!segments || !chosenOrSay()) return;
  const groups = segments.chosenKeys.map((key) => runsOf(segments.piecesOf(key).filter((piece) => segments.selected[piece])));
  corrections.edit("name", { groups, category: byId("class-name").value.trim() || null });
}

function runsOf(pieces) {
  const runs = [];
  for (const piece of pieces) {
    if (runs.length && runs.at(-1)[0] + runs.at(-1)[1] === piece) runs.at(-1)[1] += 1;
    else runs.push([piece, 1]);
  }
  return runs;
}

tools.addEventListener("cut", ({ detail }) => {
  const { segments } = stage;
  if (!segments) return;
  if (segments.selected.indexOf(1) < 0) segments.choose(segments.piecesOf(segments.owners[mostFrequent(detail.pieces)]));
  const isWithin = detail.ends.every((piece) => segments.selected[piece]);
  if (isWithin && detail.strokes.length < 2) return panel.update(); // the first of two marks
  const pieces = chosenOrSay();
  if (pieces) corrections.edit("cut", { pieces, strokes: detail.strokes });
  tools.cancel();
});

function mostFrequent(pieces) {
  const counts = new Map();
  for (const piece of pieces) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0][0];
}

tools.addEventListener("paint", ({ detail }) => {
  if (!stage.segments) return;
  corrections.edit("paint", { strokes: [detail.stroke], radius: detail.radius, pieces: stage.segments.chosenRuns });
});
tools.addEventListener("rub", ({ detail }) => {
  if (stage.segments) corrections.edit("rub", { strokes: [detail.stroke], radius: detail.radius });
});
corrections.addEventListener("kept", ({ detail }) => {
  const { segments } = stage;
  if (byId("truth").checked !== detail.truth) training.update();
  byId("truth").checked = detail.truth;
  // what was painted or merged stays chosen, so that the next stroke goes on with it
  if (["paint", "join", "fill holes"].includes(detail.kind) && detail.pins?.length) {
    segments.clear();
    segments.choose(segments.piecesOf(segments.owners[detail.pins.at(-1)[0]]));
  } else if (detail.kind !== "detail" && detail.kind !== "name") segments.clear();
  changed();
});

// ---- features

tools.addEventListener("grow", ({ detail: [row, column] }) => {
  if (!stage.segments) return;
  const [height, width] = stage.session.size;
  if (tools.isGrowing) takeGrown();
  else if (row >= 0 && column >= 0 && row < height && column < width) tried(() => grow.start(row, column));
});
tools.addEventListener("turn", ({ detail }) => grow.turn(detail));
tools.addEventListener("let-go", () => grow.end());

function takeGrown() {
  const grown = grow.end();
  const query = new URLSearchParams({ ...grown, model: byId("model").value });
  if (grown) corrections.send(`grow?${query}`);
}

async function regroup(event) {
  if (stage.segments?.corrected && !confirm("Group again? What was corrected in this photo is replaced.")) return;
  const query = new URLSearchParams({ bandwidth: event.target.value, model: byId("model").value });
  await anew(`regroup?${query}`);
}

async function showLayer(event) {
  const layer = event.target.value;
  if (!stage.session.layers.includes(layer)) {
    const done = await anew(`features?model=${encodeURIComponent(byId("model").value)}`);
    if (!done) return;
    byId("layer").value = layer;
  }
  stage.show(layer);
}

function offerFeatures() {
  const model = about.models.find(({ name }) => name === byId("model").value);
  byId("bandwidth-row").hidden = !model?.features;
  document.querySelector("[data-tool=grow]").hidden = !model?.features;
  const { session } = stage;
  const layers = new Set(["picture", ...(session?.layers ?? []), ...(session && model?.features ? ["features"] : [])]);
  byId("layer").replaceChildren(...[...layers].map((name) => make("option", { value: name }, name)));
  byId("layer").disabled = layers.size < 2;
}

// ---- the panel

function takeAway(format, pieces) {
  return tried(async () => say(`Saved ${await take(stage.session.id, format, pieces)}.`));
}

function cutOut() {
  const pieces = chosenOrSay();
  if (pieces) takeAway("cutout", pieces);
}

function showDetail(detail) {
  if (!stage.segments) return;
  stage.segments.showLevel(detail);
  stage.segments.clear();
  byId("detail").value = detail;
  byId("detail-value").textContent = detail.toFixed(2);
  stage.draw();
}

function listen(id, name, handler) {
  byId(id).addEventListener(name, handler);
}

listen("segment", "click", segment);
listen("cancel", "click", () => current && tried(() => remove(`/api/jobs/${current.id}`)));
listen("detail", "input", (event) => showDetail(Number(event.target.value)));
listen("detail", "change", (event) => corrections.edit("detail", { detail: Number(event.target.value) }));
listen("cutout", "click", cutOut);
listen("join", "click", () => withChosen("join"));
listen("fill", "click", () => withChosen("fill"));
listen("erase", "click", () => withChosen("erase"));
listen("unchoose", "click", letGo);
listen("zoom-chosen", "click", zoomToChosen);
listen("naming", "submit", nameChosen);
listen("undo", "click", () => corrections.undo());
listen("redo", "click", () => corrections.redo());
listen("take", "click", () => takeAway(byId("format").value));
listen("layer", "change", showLayer);
listen("model", "change", offerFeatures);
listen("bandwidth", "change", regroup);
listen("bandwidth", "input", (event) => (byId("bandwidth-value").textContent = `${event.target.value}°`));
listen("outlines", "change", (event) => setOption({ outlines: event.target.checked }));
listen("opacity", "input", (event) => setOption({ opacity: Number(event.target.value) }));
listen("brush", "input", (event) => setBrush(Number(event.target.value)));
listen("truth", "change", async (event) => {
  await tried(() => post(`/api/sessions/${stage.session.id}/truth?truth=${event.target.checked}`, {}, "PUT"));
  await training.update();
});
listen("segment-all", "click", () => folder.segmentAll());

function setOption(option) {
  Object.assign(stage.painter.options, option);
  byId("opacity").value = stage.painter.options.opacity;
  byId("opacity-value").textContent = `${Math.round(100 * stage.painter.options.opacity)} %`;
  byId("outlines").checked = stage.painter.options.outlines;
  stage.draw();
}

function setBrush(radius) {
  tools.radius = Math.min(200, Math.max(1, radius));
  byId("brush").value = tools.radius;
  byId("brush-value").textContent = `${Math.round(tools.radius)} px`;
  tools.draw();
}

function zoomToChosen() {
  if (!chosenOrSay()) return;
  stage.view.show(stage.segments.boxOf(stage.segments.chosen));
  stage.moved();
}

function zoom(factor) {
  stage.view.zoom(factor);
  stage.moved();
}

function changeDetail(step) {
  if (!stage.segments?.hasLevels) return;
  const detail = Math.min(1, Math.max(0, Number((stage.segments.detail + step).toFixed(3))));
  showDetail(detail);
  corrections.edit("detail", { detail });
}

for (const [tool, name, key, title] of TOOLS) {
  const button = make("button", { title, "data-tool": tool, "aria-keyshortcuts": key }, name, make("kbd", {}, key.toUpperCase()));
  button.addEventListener("click", () => tools.choose(tool));
  byId("tools").append(button);
}
tools.addEventListener("tool", ({ detail }) => {
  for (const button of byId("tools").children) button.setAttribute("aria-pressed", String(button.dataset.tool === detail));
});

new Keys(
  [
    ["Ctrl+z", "Undo, without limit, also after a reload", () => corrections.undo()],
    ["Ctrl+Shift+z or Ctrl+y", "Redo", () => corrections.redo()],
    ["m", "Merge what is chosen", () => withChosen("join")],
    ["f", "Fill the holes of what is chosen", () => withChosen("fill")],
    ["Delete or Backspace", "Erase what is chosen", () => withChosen("erase")],
    ["n", "Name what is chosen", () => byId("class-name").focus()],
    ["x", "Cut out what is chosen", cutOut],
    ["z", "Zoom to what is chosen", zoomToChosen],
    ["Escape", "Let go", letGo],
    [", or <", "Less detail", () => changeDetail(-0.02)],
    [". or >", "More detail", () => changeDetail(0.02)],
    ["+ or =", "Zoom in", () => zoom(1.25)],
    ["-", "Zoom out", () => zoom(0.8)],
    ["0", "Whole photo", () => stage.fit()],
    ["o", "Outlines on and off", () => setOption({ outlines: !stage.painter.options.outlines })],
    ["[", "Smaller brush", () => setBrush(tools.radius / 1.25)],
    ["]", "Larger brush", () => setBrush(tools.radius * 1.25)],
    ["PageDown", "Next photo of the folder", () => folder.go(1)],
    ["PageUp", "Previous photo of the folder", () => folder.go(-1)],
    ["s", "Save in the chosen format", () => stage.segments && takeAway(byId("format").value)],
    ["?", "This help", () => byId("help").showModal()],
  ],
  tools,
  stage,
);

listModels();
byId("format").replaceChildren(...about.formats.map(({ name, description }) => make("option", { value: name, title: description }, name)));
byId("format").value = "everything";
setOption({});
setBrush(tools.radius);
tools.choose("point");
panel.update();
offerFeatures();
const wanted = location.hash.slice(1);
if (wanted) await open({ id: wanted });
if (!stage.session) await start.show();
document.documentElement.dataset.ready = "yes";
