// A new user: a history chosen here, and what the model recommends for it.

import { current, go } from "./address.js";
import { api, attempt, newest } from "./api.js";
import { card, clear, fill, row, wait } from "./cards.js";
import { alert, announce, byId, counted, decimals, el } from "./dom.js";

const CHOICES = 30;
const SHOWN = 12;
const PAUSE = 150;

/** Set the view up; the answer shows a state. */
export function newUserView() {
  const query = byId("choices-query");
  const nextChoices = newest();
  const next = newest();
  const known = new Map();
  let history = null;
  let timer = 0;

  query.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => attempt(showChoices, alert), PAUSE);
  });

  async function showChoices() {
    const { items } = await api.items(query.value.trim(), CHOICES, nextChoices());
    for (const item of items) known.set(item.id, item);
    const none = el("li", { class: "empty" }, "No item has these words");
    fill(byId("choices"), items.length ? items.map(choice) : [none]);
    pressed();
  }

  function choice(item) {
    const button = el(
      "button",
      { type: "button", class: "add", "data-add": item.id, "aria-label": `Like ${item.title}` },
      el("span", { "aria-hidden": "true" }),
    );
    button.addEventListener("click", () => toggle(item.id));
    return row(item, { action: button });
  }

  /** The buttons of the choices tell what is chosen. */
  function pressed() {
    for (const button of document.querySelectorAll("[data-add]")) {
      button.setAttribute("aria-pressed", String(history.includes(button.dataset.add)));
    }
  }

  function toggle(id) {
    const chosen = current().history;
    go({ history: chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id] });
  }

  function remover(item) {
    const button = el("button", { type: "button", class: "slight" }, "Remove");
    button.setAttribute("aria-label", `Remove ${item.title}`);
    button.addEventListener("click", () => {
      toggle(item.id);
      byId("chosen-title").focus();
    });
    return button;
  }

  async function update() {
    pressed();
    const signal = next();
    const note = byId("for-new-note");
    byId("chosen-title").textContent = history.length ? `Chosen: ${history.length}` : "Chosen";
    if (!history.length) {
      clear(byId("for-new"));
      fill(byId("chosen"), [el("li", { class: "empty" }, "Nothing yet: like an item of the list.")]);
      note.textContent = "Recommendations come with the first item that you choose.";
      return;
    }
    wait(byId("for-new"));
    const strange = history.filter((id) => !known.has(id));
    for (const item of await Promise.all(strange.map((id) => api.item(id, signal)))) {
      known.set(item.id, item);
    }
    const chosen = history.map((id) => known.get(id));
    fill(byId("chosen"), chosen.map((item) => card(item, { action: remover(item) })));
    const { items } = await api.recommendFor(history, SHOWN, signal);
    fill(
      byId("for-new"),
      items.map(({ item, rank, score }) => card(item, { rank, under: `score ${decimals(score)}` })),
    );
    note.textContent = `Best first, for a history of ${counted(history.length, "item")}.`;
    announce(`${counted(items.length, "recommendation")}. ${note.textContent}`);
  }

  return (state) => {
    if (history && state.history.join("\n") === history.join("\n")) return;
    alert("");
    const first = history === null;
    history = state.history;
    if (first) attempt(showChoices, alert);
    attempt(update, (text) => {
      alert(text);
      clear(byId("for-new"));
    });
  };
}
