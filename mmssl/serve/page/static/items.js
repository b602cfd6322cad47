// Search: by words of the catalogue, by meaning, by an uploaded picture or sound.

import { go } from "./address.js";
import { api, attempt, newest } from "./api.js";
import { card, clear, fill, wait } from "./cards.js";
import { alert, announce, byId, counted, decimals, el } from "./dom.js";
import { uploadField } from "./upload.js";

const SHOWN = 24;
const KINDS = {
  words: { label: "Words in the catalogue", modality: null },
  meaning: { label: "Meaning", modality: "text" },
  picture: { label: "Picture", modality: "image" },
  sound: { label: "Sound", modality: "audio" },
};

/** Set the view up; the answer shows a state. */
export function itemsView(model) {
  const form = byId("items-form");
  const query = byId("items-query");
  const found = byId("items-found");
  const next = newest();
  const upload = uploadField(byId("items-file"), (file) => run(() => byContent({ file })));
  let shown = null;
  let kind = "words";
  const able = new Set(model.modalities.filter((one) => one.searchable).map((one) => one.name));
  const kinds = Object.keys(KINDS).filter(
    (name) => !KINDS[name].modality || able.has(KINDS[name].modality),
  );
  const radios = kinds.map((name) => {
    const radio = el("input", { type: "radio", name: "by", value: name });
    radio.addEventListener("change", () => go({ by: name === "words" ? null : name, q: null }));
    byId("items-by").append(
      el("label", { class: "switch" }, radio, el("span", {}, KINDS[name].label)),
    );
    return radio;
  });
  byId("items-by").hidden = kinds.length < 2;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = query.value.trim();
    if (words === (shown?.q ?? "")) return;
    go({ q: words || null });
  });

  const run = (task) =>
    attempt(task, (text) => {
      alert(text);
      byId("items-note").textContent = "";
      clear(found);
    });

  async function byWords(words) {
    wait(found);
    const { items } = await api.items(words ?? "", SHOWN, next());
    const where = words ? `with “${words}”` : "of the catalogue";
    const some = items.length < SHOWN ? counted(items.length, "item") : `The first ${SHOWN} items`;
    show(items.map((item) => card(item)), items.length ? `${some} ${where}` : `No item ${where}`);
  }

  async function byContent(fields) {
    alert("");
    wait(found);
    byId("items-note").textContent = "Comparing … The first time the encoder is loaded, too.";
    const { modality } = KINDS[kind];
    const { items } = await api.search({ modality, ...fields, k: SHOWN }, next());
    show(
      items.map(({ item, rank, similarity }) =>
        card(item, { rank, under: `similarity ${decimals(similarity)}` }),
      ),
      items.length ? `The ${items.length} items nearest by ${modality}` : `No item has ${modality}`,
    );
  }

  function show(cards, note) {
    fill(found, cards);
    byId("items-note").textContent = note;
    announce(note);
  }

  return (state) => {
    if (shown && state.by === shown.by && state.q === shown.q) return;
    alert("");
    shown = state;
    kind = kinds.includes(state.by) ? state.by : "words";
    for (const radio of radios) radio.checked = radio.value === kind;
    query.value = state.q ?? "";
    const uploads = kind === "picture" || kind === "sound";
    byId("items-words").hidden = uploads;
    byId("items-upload").hidden = !uploads;
    if (uploads) {
      byId("items-file-label").textContent = KINDS[kind].label;
      upload.reset(KINDS[kind].modality);
    }
    if (kind === "words") run(() => byWords(state.q));
    else if (kind === "meaning" && state.q) run(() => byContent({ text: state.q }));
    else {
      next();
      clear(found);
      byId("items-note").textContent = uploads
        ? "Choose a file: it is compared with the catalogue and not kept."
        : "Describe what you look for: a sentence is compared by its meaning.";
    }
  };
}
