// A user of the catalogue: the history, and what is recommended by the parts that are on.

import { go } from "./address.js";
import { api, attempt, newest } from "./api.js";
import { card, clear, fill, wait } from "./cards.js";
import { combobox } from "./combobox.js";
import { alert, announce, byId, counted, decimals, el, titled } from "./dom.js";
import { marked, summary } from "./marks.js";

const SHOWN = 20;
// How deep the whole model's list is read, to tell where an item stood in it.
const DEEP = 100;
const SUGGESTED = 20;
const EXAMPLES = 4;
const CATALOGUE = 24;

/** Set the view up; the answer shows a state. */
export function usersView(model) {
  const input = byId("user");
  const switches = partSwitches(model.parts);
  const nextUser = newest();
  const nextList = newest();
  const nextSuggestions = newest();
  let user;
  let parts = null;
  let loaded = null;
  let whole = new Map();
  let catalogue = null;

  combobox(input, byId("user-options"), suggest, (value) => go({ user: value, item: null }));

  async function suggest(query) {
    let users = null;
    await attempt(async () => {
      ({ users } = await api.users(query.trim(), SUGGESTED, nextSuggestions()));
      if (!users.length) announce("No such user");
      else announce(`${counted(users.length, "user")}; choose with the arrow keys`);
    }, alert);
    return users;
  }

  async function examples() {
    const { users } = await api.users("", EXAMPLES);
    byId("user-examples").replaceChildren(
      ...users.map((id) =>
        el("button", { type: "button", class: "chip", onclick: () => go({ user: id }) }, id),
      ),
    );
  }

  async function showCatalogue() {
    wait(byId("catalogue"));
    catalogue = (await api.items("", CATALOGUE)).items;
    fill(byId("catalogue"), catalogue.map((item) => card(item)));
  }

  async function showUser() {
    wait(byId("history"));
    clear(byId("recommended"));
    const signal = nextUser();
    const [history, best] = await Promise.all([
      api.history(user, signal),
      api.recommend(user, DEEP, [], signal),
    ]);
    whole = new Map(best.items.map(({ item, rank }) => [item.id, rank]));
    byId("history-title").textContent = `History of ${user}`;
    const liked = history.items.map((item) => card(item));
    fill(byId("history"), liked.length ? liked : [el("li", { class: "empty" }, "No history")]);
    return best;
  }

  function showList({ items, source }) {
    const shown = items.slice(0, SHOWN);
    const marks = parts.length ? marked(shown, whole) : [];
    fill(
      byId("recommended"),
      shown.map(({ item, rank, score }, n) =>
        card(item, { rank, under: `score ${decimals(score)}`, mark: marks[n]?.badge }),
      ),
    );
    const note =
      source === "popularity"
        ? "This user has no history that the model was trained on: these are the most popular items."
        : parts.length
          ? summary(marks, shown.length)
          : "Best first, by all parts of the model. Scores order items; they are not probabilities.";
    byId("recommended-note").textContent = note;
    announce(`${counted(shown.length, "recommendation")} for ${user}. ${parts.length ? note : ""}`);
  }

  async function update(state) {
    const newUser = state.user !== user;
    const asked = state.parts.filter((part) => model.parts.includes(part));
    if (!newUser && parts?.join("\n") === asked.join("\n")) return;
    alert("");
    user = state.user;
    parts = asked;
    switches.show(parts);
    input.value = user ?? "";
    byId("user-none").hidden = Boolean(user);
    byId("user-shown").hidden = !user;
    if (!user) {
      nextUser();
      nextList();
      if (!catalogue) await Promise.all([examples(), showCatalogue()]);
      return;
    }
    if (newUser) loaded = showUser();
    wait(byId("recommended"));
    const signal = nextList();
    const best = await loaded;
    const list = parts.length ? await api.recommend(user, SHOWN, parts, signal) : best;
    // Another user or other parts may have been chosen meanwhile.
    if (!signal.aborted) showList(list);
  }

  return (state) =>
    attempt(
      () => update(state),
      (text) => {
        alert(text);
        user = undefined;
        catalogue = null;
        byId("user-shown").hidden = true;
        for (const list of ["history", "recommended", "catalogue"]) clear(byId(list));
      },
    );
}

function partSwitches(parts) {
  const boxes = parts.map((part) => {
    const box = el("input", { type: "checkbox", name: "parts", value: part, onchange: toggled });
    byId("parts").append(el("label", { class: "switch" }, box, el("span", {}, titled(part))));
    return box;
  });
  byId("parts").hidden = parts.length < 2;

  function toggled(event) {
    const on = boxes.filter((box) => box.checked).map((box) => box.value);
    if (!on.length) {
      event.target.checked = true;
      alert("At least one part has to count.");
      return;
    }
    go({ parts: on.length === boxes.length ? [] : on }, { replace: false });
  }

  return {
    show(on) {
      for (const box of boxes) box.checked = !on.length || on.includes(box.value);
    },
  };
}
