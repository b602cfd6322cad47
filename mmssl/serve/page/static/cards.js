// Items as cards, and lists of them.

import { addressOf, follow } from "./address.js";
import { el } from "./dom.js";
import { playButton } from "./sound.js";

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const WAITING = 6;

/** The picture of an item or, where it has none, its words. */
export function picture(item) {
  const words = () => el("p", { class: "words" }, item.text || item.title);
  if (!item.image) return el("div", { class: "picture" }, words());
  const image = el("img", { src: item.image, alt: `Picture: ${item.title}`, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(words()));
  return el("div", { class: "picture" }, image);
}

/** A link that opens an item's panel. */
function itemLink(item) {
  const link = el("a", { class: "open", href: addressOf({ item: item.id }) }, item.title);
  follow(link, () => addressOf({ item: item.id }));
  return link;
}

/**
 * A list item with picture, title and sound. `rank` stands before the title, `under` (text) below
 * it, `mark` (an element) on the picture, `action` (a button) at the end.
 */
export function card(item, { rank, under, mark, action } = {}) {
  return el(
    "li",
    { class: "card", "data-id": item.id },
    el("div", { class: "tile" }, picture(item), mark, item.audio ? playButton(item) : null),
    el(
      "div",
      { class: "caption" },
      el("p", { class: "name" }, rank ? el("span", { class: "rank" }, `${rank} `) : null, itemLink(item)),
      under ? el("p", { class: "under" }, under) : null,
    ),
    action,
  );
}

/** A list item as a line: a small picture, the title, `under` (text), and at the end `action`. */
export function row(item, { under, action } = {}) {
  return el(
    "li",
    { class: "row", "data-id": item.id },
    picture(item),
    el(
      "div",
      { class: "caption" },
      el("p", { class: "name" }, itemLink(item)),
      under ? el("p", { class: "under" }, under) : null,
    ),
    action,
  );
}

/** Fill a list; cards that were in it before move to their new places. */
export function fill(list, cards) {
  list.removeAttribute("aria-busy");
  const before = new Map();
  if (!calm.matches) {
    for (const old of list.querySelectorAll("[data-id]")) {
      before.set(old.dataset.id, old.getBoundingClientRect());
    }
  }
  list.replaceChildren(...cards);
  if (!before.size) return;
  for (const one of cards) {
    const was = before.get(one.dataset.id);
    const is = one.getBoundingClientRect();
    const from = was
      ? { transform: `translate(${was.left - is.left}px, ${was.top - is.top}px)` }
      : { opacity: 0 };
    one.animate([from, {}], { duration: 320, easing: "cubic-bezier(.2, 0, 0, 1)" });
  }
}

/** Mark a list as loading: an empty one shows where cards will be. */
export function wait(list) {
  list.setAttribute("aria-busy", "true");
  if (list.querySelector("[data-id]")) return;
  const blank = () => el("li", { class: "card blank", "aria-hidden": "true" }, el("div", { class: "tile" }));
  list.replaceChildren(...Array.from({ length: WAITING }, blank));
}

/** Empty a list, as after an error. */
export function clear(list) {
  list.removeAttribute("aria-busy");
  list.replaceChildren();
}
