// Elements made in code. Data reaches the page as text nodes and attributes, never as markup.

export const byId = (id) => document.getElementById(id);

/** An element; attributes that are null, undefined or false are left out, `on…` are listeners. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Words for screen readers only. */
export const unseen = (text) => el("span", { class: "unseen" }, text);

/** A number with so many decimals, a true minus, and no minus before a zero. */
export function decimals(value, digits = 3) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}
export const whole = (value) => value.toLocaleString("en");
export const counted = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
export const titled = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Say a change of a list to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Show an error in an alert region; an empty text clears it. */
export function alert(text, region = byId("alert")) {
  region.replaceChildren(...(text ? [el("p", { class: "alert" }, text)] : []));
}

export const empty = (text) => el("p", { class: "empty" }, text);
