// How a list by some parts differs from the list by the whole model.

import { counted, el, unseen } from "./dom.js";

/** For each shown entry its `kind` ("up", "down", "new", "same") and a badge (none for "same"). */
export function marked(entries, ranksByAll) {
  return entries.map(({ item, rank }) => {
    const was = ranksByAll.get(item.id);
    if (was === undefined) return { kind: "new", badge: badge("new", "New", "") };
    if (was === rank) return { kind: "same", badge: null };
    const kind = was > rank ? "up" : "down";
    return { kind, badge: badge(kind, String(Math.abs(was - rank)), `, from place ${was}`) };
  });
}

/** The marks in a sentence. */
export function summary(marks, shown) {
  const count = (kind) => marks.filter((mark) => mark.kind === kind).length;
  const [up, down, fresh] = [count("up"), count("down"), count("new")];
  if (up + down + fresh === 0) return "The same list as by all parts.";
  const places = `${up} of ${counted(shown, "item")} moved up, ${down} down`;
  const came = fresh ? `; ${fresh} new, from below its first 100` : "";
  return `Against the list by all parts: ${places}${came}.`;
}

const ARROWS = { up: "\u2191", down: "\u2193", new: "" };
const WORDS = { up: "up ", down: "down ", new: "" };

function badge(kind, text, after) {
  return el(
    "span",
    { class: `mark ${kind}` },
    ARROWS[kind] ? el("span", { "aria-hidden": "true" }, ARROWS[kind]) : null,
    unseen(WORDS[kind]),
    text,
    unseen(after),
  );
}
