// Talking to the server: every answer that is not what was asked for becomes an Error with the server's own words.

async function answered(response) {
  if (response.ok) return response;
  let reason = `${response.status} ${response.statusText}`;
  try {
    const told = (await response.json()).detail;
    reason = typeof told === "string" ? told : JSON.stringify(told);
  } catch {
    // no JSON: the status says all there is
  }
  throw new Error(reason);
}

let asking = 0; // what is not done yet: the page says so to whoever waits for it

function count(change) {
  asking += change;
  document.documentElement.setAttribute("aria-busy", String(asking > 0));
}

export async function busyUntil(done) {
  count(1);
  try {
    return await done;
  } finally {
    count(-1);
  }
}

async function send(path, options) {
  let response;
  try {
    response = await busyUntil(fetch(path, options));
  } catch {
    throw new Error("upseg app does not answer; is it still running in its terminal?");
  }
  return answered(response);
}

export async function getJson(path) {
  return (await send(path)).json();
}

export async function getBuffer(path) {
  return (await send(path)).arrayBuffer();
}

export async function getBitmap(path) {
  return createImageBitmap(await (await send(path)).blob());
}

export async function post(path, content = {}, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  const response = await send(path, { method, headers, body: JSON.stringify(content) });
  return response.status === 204 ? null : response.json();
}

export async function remove(path) {
  await send(path, { method: "DELETE" });
}

export async function upload(file) {
  const path = `/api/sessions?name=${encodeURIComponent(file.name)}`;
  const headers = { "Content-Type": "application/octet-stream" };
  return (await send(path, { method: "POST", headers, body: file })).json();
}

// What a format makes of some pieces, as a file that the browser saves.
export async function take(session, format, pieces) {
  const path = `/api/sessions/${session}/export`;
  const headers = { "Content-Type": "application/json" };
  const response = pieces
    ? await send(path, { method: "POST", headers, body: JSON.stringify({ format, pieces }) })
    : await send(`${path}?format=${encodeURIComponent(format)}`);
  const named = response.headers.get("Content-Disposition") ?? "";
  const plain = /filename="([^"]*)"/.exec(named)?.[1];
  const encoded = /filename\*=utf-8''([^;]*)/i.exec(named)?.[1];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = encoded ? decodeURIComponent(encoded) : (plain ?? "segments");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return link.download;
}

// Follow a job until it is over; `told` hears each change, and the last one is returned.
export function follow(job, told) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/api/jobs/${job.id}/events`);
    source.onmessage = (event) => {
      const now = JSON.parse(event.data);
      told(now);
      if (["done", "failed", "cancelled"].includes(now.status)) {
        source.close();
        resolve(now);
      }
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) reject(new Error("upseg app does not answer any more"));
    };
  });
}
