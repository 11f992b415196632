// Where one begins: open or drop images or folders, try a sample, go on with work of before.

import { getJson, post, remove, upload } from "./api.js";
import { byId, make, number, say, tried } from "./page.js";

const IMAGE = /\.(png|jpe?g|webp|bmp|gif|tiff?)$/i;

// The files of what was dropped; of folders those that are images, in order.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files]; // read now: they are gone after the event
  if (!entries.some((entry) => entry.isDirectory)) return files;
  return imagesOf((await Promise.all(entries.map(within))).flat());
}

async function within(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // 100 at the most
    if (!some.length) return (await Promise.all(entries.map(within))).flat();
    entries.push(...some);
  }
}

function imagesOf(files) {
  return [...files].filter((file) => IMAGE.test(file.name)).sort((a, b) => a.name.localeCompare(b.name));
}

export class Start {
  // `opened(session)` is called with what was opened.
  constructor(about, opened, folder) {
    Object.assign(this, { about, opened, folder });
    byId("open").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", (event) => this.take(event.target.files));
    byId("open-folder").addEventListener("click", () => byId("folder-files").click());
    byId("folder-files").addEventListener("change", (event) => this.takeAll(imagesOf(event.target.files)));
    for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => this.drag(event));
    document.addEventListener("dragleave", () => byId("stage").classList.remove("dragging"));
    document.addEventListener("paste", (event) => this.take(event.clipboardData?.files ?? []));
    byId("samples").replaceChildren(
      ...about.samples.map((name) => make("li", {}, make("button", { onclick: () => this.sample(name) }, name))),
    );
    byId("home").addEventListener("click", () => this.show());
  }

  drag(event) {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    byId("stage").classList.toggle("dragging", event.type === "dragover");
    if (event.type === "drop") tried(async () => this.takeAll(await dropped(event.dataTransfer)));
  }

  async takeAll(images) {
    if (!images.length) say("There is no image in it.", "error");
    await this.take(images);
  }

  async take(files) {
    const images = [...files].filter((file) => file.size);
    for (const file of images) {
      if (file.size > this.about.bounds.bytes) {
        say(`${file.name} has ${number(file.size)} bytes, more than the ${number(this.about.bounds.bytes)} that are taken`, "error");
        continue;
      }
      byId("title").textContent = `Opening ${file.name}…`;
      const session = await tried(() => upload(file));
      byId("title").textContent = "";
      if (session && images.length === 1) await this.opened(session);
    }
    for (const id of ["file", "folder-files"]) byId(id).value = "";
    if (images.length > 1) await this.show();
  }

  async sample(name) {
    const session = await tried(() => post(`/api/samples/${name}`));
    if (session) await this.opened(session);
  }

  async show() {
    byId("welcome").hidden = false;
    history.replaceState(null, "", "/");
    const sessions = (await tried(() => getJson("/api/sessions"))) ?? [];
    await this.folder.show();
    byId("recent").hidden = sessions.length === 0;
    byId("sessions").replaceChildren(...sessions.map((session) => this.card(session)));
  }

  card(session) {
    const about = session.segmented ? `${number(session.segments ?? 0)} segments${session.truth ? ", corrected" : ""}` : "not segmented";
    const open = make(
      "button",
      { onclick: () => this.opened(session) },
      make("img", { src: `/api/sessions/${session.id}/thumbnail.jpg`, alt: "", loading: "lazy" }),
      make("span", {}, session.name),
      make("small", {}, about),
    );
    const gone = make("button", { class: "remove", "aria-label": `Remove ${session.name}`, onclick: () => this.drop(session) }, "Remove");
    return make("li", {}, open, gone);
  }

  async drop(session) {
    if (!confirm(`Remove ${session.name} and what was done with it?`)) return;
    await tried(() => remove(`/api/sessions/${session.id}`));
    await this.show();
  }
}
