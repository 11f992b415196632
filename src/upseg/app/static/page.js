// Small helpers for the page itself.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function number(value) {
  return Math.round(value).toLocaleString("en");
}

const SHOWN_MILLISECONDS = 9000;

export function say(text, kind = "note") {
  const box = make("div", { class: kind }, make("span", {}, text));
  box.append(make("button", { "aria-label": "Dismiss", onclick: () => box.remove() }, "×"));
  byId("messages").append(box);
  setTimeout(() => box.remove(), SHOWN_MILLISECONDS);
}

// Run something that may fail; what goes wrong is said, and nothing else happens.
export async function tried(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, "error");
    return undefined;
  }
}
