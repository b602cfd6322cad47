// Why an item is recommended: what each part adds to the score, and the likes it resembles.

import { fill, row } from "./cards.js";
import { decimals, el, titled } from "./dom.js";

/** Elements that show an answer of `/api/explain`. */
export function explanation({ score, shares, nearest }) {
  const parts = Object.entries(shares);
  const near = Object.entries(nearest).filter(([, items]) => items.length);
  return [
    el("p", { class: "note" }, "Score ", el("strong", {}, decimals(score)), parts.length ? ", the sum of these shares:" : ""),
    el("dl", { class: "shares" }, ...parts.flatMap((part) => share(part, parts))),
    ...(near.length ? [el("h4", {}, "Nearest in the history")] : []),
    el("div", { class: "nearest" }, ...near.map(([modality, items]) => group(modality, items))),
  ];
}

/** A labelled bar from a common zero: shares below zero reach to its left. */
function share([name, value], parts) {
  const values = parts.map(([, one]) => one);
  const low = Math.min(0, ...values);
  const span = Math.max(0, ...values) - low || 1;
  const bar = el("span", { class: value < 0 ? "length against" : "length" });
  bar.style.left = `${((Math.min(value, 0) - low) / span) * 100}%`;
  bar.style.width = `${(Math.abs(value) / span) * 100}%`;
  const zero = el("span", { class: "zero" });
  zero.style.left = `${(-low / span) * 100}%`;
  return [
    el("dt", {}, titled(name)),
    el(
      "dd",
      {},
      el("span", { class: "track", "aria-hidden": "true" }, bar, low < 0 ? zero : null),
      el("span", { class: "amount" }, decimals(value)),
    ),
  ];
}

function group(modality, items) {
  const list = el("ol", { class: "near", "aria-label": `Nearest by ${modality}` });
  fill(
    list,
    items.map(({ item, similarity }) => row(item, { under: `similarity ${decimals(similarity, 2)}` })),
  );
  return el("div", {}, el("p", { class: "group" }, `By ${modality}`), list);
}
