// A folder of images to go through, and training on what was corrected.

import { getJson, post } from "./api.js";
import { byId, make, number, say, tried } from "./page.js";

export class Folder {
  // `opened(session)` shows one, `waited(job)` shows a job's progress until it is over.
  constructor(count, { opened, waited, model }) {
    Object.assign(this, { count, opened, waited, model, current: null });
    for (const [id, step] of [["previous", -1], ["next", 1]]) {
      byId(id).hidden = count === 0;
      byId(id).addEventListener("click", () => this.go(step));
    }
  }

  tell(facts) {
    if (Number.isInteger(facts.photo)) this.current = facts.photo;
    byId("previous").disabled = !(this.current > 0);
    byId("next").disabled = this.current !== null && this.current >= this.count - 1;
  }

  go(step) {
    if (!this.count) return;
    const wanted = this.current === null ? 0 : this.current + step;
    if (wanted >= 0 && wanted < this.count) this.open(wanted);
  }

  async open(photo) {
    const session = await tried(() => post(`/api/photos/${photo}`));
    if (session) await this.opened(session);
  }

  async segmentAll() {
    const job = await tried(() => post(`/api/photos/all/segment?model=${encodeURIComponent(this.model())}`));
    if (!job) return;
    const over = await this.waited(job);
    if (over?.status !== "done") return;
    const { segmented, failed } = over.result;
    say(`${number(segmented)} photos segmented${failed.length ? `, ${failed.length} failed: ${failed[0].error}` : ""}.`);
    await this.show();
  }

  async show() {
    if (!this.count) return;
    const photos = (await tried(() => getJson("/api/photos"))) ?? [];
    byId("folder").hidden = false;
    byId("photos").replaceChildren(...photos.map((photo) => make("li", {}, this.card(photo))));
  }

  card({ number: photo, name, problem, session }) {
    const about = problem ?? (session?.segmented ? `${number(session.segments ?? 0)} segments${session.truth ? ", corrected" : ""}` : "not segmented");
    const picture = session?.size ? [make("img", { src: `/api/sessions/${session.id}/thumbnail.jpg`, alt: "", loading: "lazy" })] : [];
    return make("button", { disabled: Boolean(problem), onclick: () => this.open(photo) }, ...picture, make("span", {}, name), make("small", {}, about));
  }
}

const SIZE = [280, 90];

function curveOf(rows, name) {
  const points = rows.filter((row) => row[name] !== undefined);
  if (points.length < 2) return "";
  const steps = points.map((row) => row.step);
  const values = points.map((row) => row[name]);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const x = (step) => (SIZE[0] * (step - steps[0])) / Math.max(1, steps.at(-1) - steps[0]);
  const y = (value) => 5 + (SIZE[1] - 10) * (1 - (value - least) / (most - least || 1));
  return points.map((row) => `${x(row.step).toFixed(1)},${y(row[name]).toFixed(1)}`).join(" ");
}

export class Training {
  constructor({ waited, learned }) {
    Object.assign(this, { waited, learned });
    this.base = make("select", { id: "base" });
    this.epochs = make("input", { id: "epochs", type: "number", min: 1, max: 200, value: 5 });
    this.button = make("button", { id: "train", onclick: () => this.start() }, "Train");
    this.note = make("p", { id: "train-note", role: "status" });
    this.line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    this.curve = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of [["viewBox", `0 0 ${SIZE.join(" ")}`], ["class", "curve"], ["preserveAspectRatio", "none"], ["role", "img"], ["aria-label", "Loss by step"], ["id", "curve"]]) {
      this.curve.setAttribute(name, value);
    }
    this.curve.append(this.line);
    this.curve.style.display = "none";
    byId("more").replaceChildren(
      make("h2", {}, "Train on what was corrected"),
      make("div", { class: "row" }, make("label", { for: "base" }, "From"), this.base),
      make("div", { class: "row" }, make("label", { for: "epochs" }, "Epochs"), this.epochs, this.button),
      this.note,
      this.curve,
    );
    this.update();
  }

  async update() {
    const facts = await tried(() => getJson("/api/training"));
    if (!facts) return;
    const chosen = this.base.value;
    this.base.replaceChildren(...facts.models.map((name) => make("option", { value: name }, name)));
    if (facts.models.includes(chosen)) this.base.value = chosen;
    this.button.disabled = facts.images < facts.least || Boolean(facts.job);
    this.note.textContent = `${facts.images} corrected ${facts.images === 1 ? "image" : "images"}${facts.images < facts.least ? `; ${facts.least} are needed` : ""}.`;
    if (facts.job && !this.following) this.follow(facts.job);
  }

  async start() {
    const path = `/api/training?base=${encodeURIComponent(this.base.value)}&epochs=${Number(this.epochs.value)}`;
    const job = await tried(() => post(path));
    if (job) await this.follow(job);
  }

  async follow(job) {
    this.following = true;
    this.button.disabled = true;
    const over = await this.waited(job, (now) => this.draw(now));
    this.following = false;
    await this.update();
    if (over?.status !== "done") return;
    this.draw(over);
    await this.learned(over.result.model);
    this.note.textContent = `Trained: the model ${over.result.model} can be chosen above.`;
  }

  draw({ result }) {
    const rows = result?.curve ?? [];
    const points = curveOf(rows, "loss");
    this.curve.style.display = points ? "" : "none";
    this.line.setAttribute("points", points);
    const last = rows.filter((row) => row.loss !== undefined).at(-1);
    const score = rows.filter((row) => row.score !== undefined).at(-1);
    if (last) this.note.textContent = `Loss ${last.loss.toFixed(3)} at step ${last.step}${score ? `, AP50 ${score.score.toFixed(3)}` : ""}.`;
  }
}
