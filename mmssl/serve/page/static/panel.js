// An item's panel: its content, why it is recommended to the user, its neighbours in each space.

import { closeItem } from "./address.js";
import { api, attempt, newest } from "./api.js";
import { card, fill, picture, wait } from "./cards.js";
import { alert, announce, byId, decimals, el, empty, titled } from "./dom.js";
import { explanation } from "./explanation.js";
import { stop } from "./sound.js";

const NEIGHBOURS = 12;

/** Set the panel up; the answer shows, or closes, what a state says. */
export function itemPanel(model) {
  const dialog = byId("item");
  const region = byId("item-alert");
  const next = newest();
  const nextSpace = newest();
  let shown = null;
  let space = model.spaces[0];

  byId("item-close").addEventListener("click", closeItem);
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    closeItem();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && closeItem());

  async function show(state) {
    const signal = next();
    alert("", region);
    byId("item-title").textContent = "…";
    byId("item-body").replaceChildren();
    if (!dialog.open) dialog.showModal();
    byId("item-title").focus({ preventScroll: true });
    byId("item-body").scrollTop = 0;
    const item = await api.item(state.item, signal);
    byId("item-title").textContent = item.title;
    const why = el("section", { "aria-labelledby": "why-title" });
    const user = state.view === "users" && state.user;
    byId("item-body").replaceChildren(content(item), ...(user ? [why] : []), neighbours(item));
    if (!user) return;
    why.append(el("h3", { id: "why-title" }, `Why, for ${user}`), el("p", { class: "note" }, "…"));
    await attempt(
      async () => {
        const answer = await api.explain(user, item.id, signal);
        why.replaceChildren(el("h3", { id: "why-title" }, `Why, for ${user}`), ...explanation(answer));
      },
      (text) => why.lastChild.replaceWith(empty(text)),
    );
  }

  function neighbours(item) {
    const list = el("ol", { class: "grid small", "aria-labelledby": "near-title" });
    const body = el("div", { id: "near", role: "tabpanel", "aria-labelledby": "near-tab" }, list);
    const tabs = model.spaces.map((name) =>
      el("button", { type: "button", role: "tab", "aria-controls": "near", "data-space": name }, titled(name)),
    );
    const choose = (tab) => {
      space = tab.dataset.space;
      for (const one of tabs) {
        const on = one === tab;
        one.setAttribute("aria-selected", String(on));
        one.tabIndex = on ? 0 : -1;
        one.id = on ? "near-tab" : "";
      }
      fillNeighbours(item, list);
    };
    const row = el("div", { role: "tablist", "aria-label": "Space" }, ...tabs);
    row.addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) choose(tab);
    });
    row.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const tab = tabs.at(to % tabs.length);
      tab.focus();
      choose(tab);
    });
    const start = tabs.find((tab) => tab.dataset.space === space) ?? tabs[0];
    if (start) choose(start);
    const none = empty("This model has no item vectors to compare.");
    return el(
      "section",
      { "aria-labelledby": "near-title" },
      el("h3", { id: "near-title" }, "Neighbours"),
      ...(tabs.length ? [row, body] : [none]),
    );
  }

  function fillNeighbours(item, list) {
    wait(list);
    const chosen = space;
    const say = (text) => list.replaceChildren(el("li", { class: "empty" }, text));
    attempt(async () => {
      const { items } = await api.similar(item.id, chosen, NEIGHBOURS, nextSpace());
      list.removeAttribute("aria-busy");
      if (!items.length) return say(`This item has nothing to compare by ${chosen}.`);
      list.replaceChildren();
      fill(
        list,
        items.map((one) => card(one.item, { under: `similarity ${decimals(one.similarity)}` })),
      );
      return announce(`${items.length} neighbours by ${chosen}`);
    }, (text) => {
      list.removeAttribute("aria-busy");
      say(text);
    });
  }

  return (state) => {
    const key = state.item && JSON.stringify([state.item, state.view === "users" && state.user]);
    if (key === shown) return;
    shown = key;
    stop();
    if (!key) {
      next();
      dialog.close();
      return;
    }
    attempt(
      () => show(state),
      (text) => {
        byId("item-title").textContent = "Item";
        alert(text, region);
      },
    );
  };
}

function content(item) {
  return el(
    "div",
    { class: "content" },
    picture(item),
    el(
      "div",
      {},
      item.text && item.text !== item.title ? el("p", {}, item.text) : null,
      item.audio
        ? el("audio", { controls: true, preload: "none", src: item.audio, "aria-label": `Sound of ${item.title}` })
        : null,
      el("p", { class: "under" }, "Id ", el("code", {}, item.id)),
    ),
  );
}
