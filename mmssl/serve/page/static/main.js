// Where the page starts: it asks what the model is, then shows what the address says.

import { about } from "./about.js";
import { VIEWS, changed, follow, viewAddress, whenChanged } from "./address.js";
import { api, attempt } from "./api.js";
import { alert, byId } from "./dom.js";
import { itemsView } from "./items.js";
import { newItemView } from "./new_item.js";
import { newUserView } from "./new_user.js";
import { itemPanel } from "./panel.js";
import { stop } from "./sound.js";
import { usersView } from "./users.js";

const MAKERS = { users: usersView, items: itemsView, "new-user": newUserView, "new-item": newItemView };

const failed = (text) => alert(text);
await attempt(async () => start(await api.model()), failed);
byId("loading").remove();

function start(model) {
  byId("model-name").textContent = `${model.name}, ${model.variant}`;
  about(model);
  const views = Object.fromEntries(VIEWS.map((name) => [name, MAKERS[name](model)]));
  const panel = itemPanel(model);
  let shown = null;

  for (const link of document.querySelectorAll("a[data-view]")) {
    follow(link, () => viewAddress(link.dataset.view));
  }
  whenChanged((state) => {
    if (state.view !== shown) {
      show(state.view);
      // On the first showing the focus stays where the browser put it.
      if (shown && !state.item) byId(`${state.view}-title`).focus({ preventScroll: true });
      shown = state.view;
    }
    document.title = titleOf(state);
    views[state.view](state);
    panel(state);
  });
  changed();
}

function titleOf({ view, user }) {
  const heading = byId(`${view}-title`).textContent;
  return [view === "users" ? user : null, heading, "MMSSL"].filter(Boolean).join(" \u2013 ");
}

function show(view) {
  alert("");
  stop();
  for (const name of VIEWS) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
}
