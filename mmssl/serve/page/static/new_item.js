// A new item: its content is encoded and placed; its neighbours and its likeliest users come back.

import { follow } from "./address.js";
import { api, attempt, newest } from "./api.js";
import { card, fill, wait } from "./cards.js";
import { alert, announce, byId, decimals, el, empty } from "./dom.js";
import { uploadField } from "./upload.js";

const SHOWN = 12;
const LABELS = { image: "Picture", audio: "Sound", text: "Text" };

/** Set the view up; it has no state in the address, because a file cannot stand there. */
export function newItemView(model) {
  const form = byId("new-item-form");
  const found = byId("new-item-found");
  const next = newest();
  const able = model.modalities.filter((one) => one.searchable && one.name in LABELS);
  const fields = able.map(({ name }) => field(name));
  const before = [...found.childNodes];
  byId("new-item-fields").replaceChildren(...fields.map((one) => one.node));
  if (!fields.length) {
    form.replaceChildren(empty("None of this model's encoders can be used on new content here."));
  }

  form.addEventListener("reset", () => {
    next();
    alert("");
    for (const one of fields) one.reset();
    found.replaceChildren(...before);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    alert("");
    const given = Object.fromEntries(
      fields.map((one) => [one.name, one.value()]).filter(([, value]) => value),
    );
    if (!Object.keys(given).length) {
      alert("Give at least one of: " + fields.map((one) => LABELS[one.name].toLowerCase()).join(", ") + ".");
      return;
    }
    const waiting = el("ul", { class: "grid" });
    found.replaceChildren(el("h2", {}, "Finding its place …"), waiting);
    wait(waiting);
    attempt(
      async () => show(await api.newItem({ ...given, k: SHOWN }, next())),
      (text) => {
        alert(text);
        found.replaceChildren(...before);
      },
    );
  });

  function show({ neighbours, users }) {
    found.replaceChildren(
      el("h2", {}, "Users with the highest scores for it"),
      el("p", { class: "note" }, "Scores order; they are not probabilities."),
      el("ol", { class: "people" }, ...users.map(person)),
      ...Object.entries(neighbours).flatMap(([modality, items]) => section(modality, items)),
    );
    announce(`The new item has its place: ${users.length} users and its neighbours are shown.`);
  }

  return () => {};
}

function field(name) {
  const id = `new-item-${name}`;
  if (name === "text") {
    const area = el("textarea", { id, rows: "3" });
    return {
      name,
      node: el("div", { class: "field" }, el("label", { for: id }, LABELS[name]), area),
      value: () => area.value.trim(),
      reset: () => {},
    };
  }
  const input = el("input", { id, type: "file" });
  const node = el("div", { class: "upload" }, input);
  const upload = uploadField(input);
  upload.reset(name);
  return {
    name,
    node: el("div", { class: "field" }, el("label", { for: id }, LABELS[name]), node),
    value: () => input.files[0],
    reset: () => upload.reset(name),
  };
}

function person({ user, score }) {
  const address = `?${new URLSearchParams({ user })}`;
  const link = el("a", { href: address }, user);
  follow(link, () => address);
  return el("li", {}, link, el("span", { class: "under" }, ` score ${decimals(score)}`));
}

function section(modality, items) {
  const list = el("ol", { class: "grid" });
  fill(
    list,
    items.map(({ item, similarity }) => card(item, { under: `similarity ${decimals(similarity)}` })),
  );
  return [el("h2", {}, `Neighbours by ${modality}`), items.length ? list : empty("None")];
}
