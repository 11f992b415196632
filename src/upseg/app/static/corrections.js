// Corrections are sent one after the other, and drawn when the server has kept them: what is seen is on the disk.

import { busyUntil, post } from "./api.js";
import { tried } from "./page.js";

export class Corrections extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.last = Promise.resolve();
  }

  send(path, content) {
    const { session } = this.stage;
    const keep = async () => {
      const told = await post(`/api/sessions/${session.id}/${path}`, content);
      if (this.stage.session?.id !== session.id) return;
      this.stage.take(told);
      this.dispatchEvent(new CustomEvent("kept", { detail: told }));
    };
    this.last = busyUntil(this.last.then(() => tried(keep))); // also while it waits for those before
    return this.last;
  }

  edit(kind, content = {}) {
    return this.send("edits", { kind, ...content });
  }

  undo() {
    return this.send("undo");
  }

  redo() {
    return this.send("redo");
  }
}
