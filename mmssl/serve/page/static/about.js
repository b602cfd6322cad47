// What the model is, and how it did on validation beside popularity.

import { byId, decimals, el, whole } from "./dom.js";

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

// What stands at once; the rest is a click away.
const SHOWN = ["recall@20", "ndcg@20", "mrr@20"];

function figures(metrics, popularity) {
  const names = Object.keys(metrics).filter((name) => Number.isFinite(metrics[name]));
  if (!names.length) return [el("p", {}, "The run recorded no validation figures.")];
  const table = (caption, some) =>
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...["Metric", "This model", "Popularity"].map(heading))),
      el("tbody", {}, ...some.map((name) => row(name, metrics[name], popularity[name]))),
    );
  const first = names.filter((name) => SHOWN.includes(name));
  const all = table("All validation figures", names);
  const text = "Held-out likes, ranked among all items that a user has not seen";
  if (!first.length || first.length === names.length) return [table(text, names)];
  return [table(text, first), el("details", {}, el("summary", {}, "All figures"), all)];
}

const heading = (name) => el("th", { scope: "col" }, name);

function row(name, value, popular) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name),
    el("td", {}, decimals(value, 4)),
    el("td", {}, Number.isFinite(popular) ? decimals(popular, 4) : "\u2013"),
  );
}
