// What the model is, and how it did on validation beside popularity.

import { byId, decimals, el, unseen, whole } from "./dom.js";

/** Fill the foot of the page from what `/api/model` says. */
export function about(model) {
  const facts = [
    ["Name", model.name],
    ["Variant", model.variant],
    ["Users", whole(model.users)],
    ["Items", whole(model.items)],
    ["Parts of the score", model.parts.join(", ")],
    ...model.modalities.map(({ name, encoder }) => [`Encoder of ${name}`, encoder]),
  ];
  byId("facts").replaceChildren(
    ...facts.filter(([, value]) => value).flatMap(([name, value]) => [
      el("dt", {}, name),
      el("dd", {}, value),
    ]),
  );
  byId("figures").replaceChildren(...figures(model.metrics ?? {}, model.popularity ?? {}));
}

function figures(metrics, popularity) {
  const names = Object.keys(metrics).filter((name) => Number.isFinite(metrics[name]));
  if (!names.length) return [el("p", {}, "The run recorded no validation figures.")];
  const row = (name) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      el("td", {}, decimals(metrics[name], 4)),
      el("td", {}, name in popularity ? decimals(popularity[name], 4) : "\u2013"),
    );
  const head = ["Metric", "This model", "Popularity"];
  return [
    el(
      "table",
      {},
      el("caption", {}, unseen("Validation figures. "), "Held-out likes, ranked among all items."),
      el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...names.map(row)),
    ),
  ];
}
