// What is shown stands in the address, so that it can be linked, reloaded and gone back from.

export const VIEWS = ["users", "items", "new-user", "new-item"];
const MANY = ["parts", "history"];
const ONE = ["user", "q", "by", "item"];
const listeners = [];

/** The state that the address tells: {view, user, q, by, item, parts: [], history: []}. */
export function current() {
  const query = new URLSearchParams(location.search);
  const view = query.get("view");
  const state = { view: VIEWS.includes(view) ? view : "users" };
  for (const key of ONE) state[key] = query.get(key) || null;
  for (const key of MANY) state[key] = [...new Set(query.getAll(key))];
  return state;
}

/** The address of a state: the current one with `changes`. */
export function addressOf(changes) {
  const state = { ...current(), ...changes };
  const query = new URLSearchParams();
  if (state.view !== "users") query.set("view", state.view);
  for (const key of ONE) if (state[key]) query.set(key, state[key]);
  for (const key of MANY) for (const value of state[key]) query.append(key, value);
  return `?${query}`;
}

/** The address of a view with nothing chosen in it. */
export const viewAddress = (view) => (view === "users" ? "?" : `?view=${view}`);

/** Go to an address of this page; items opened from items are counted, for `closeItem`. */
export function goTo(address, { replace = false } = {}) {
  const opened = new URLSearchParams(address).has("item") ? (history.state?.opened ?? 0) + 1 : 0;
  if (replace) history.replaceState(history.state, "", address);
  else history.pushState({ opened }, "", address);
  changed();
}

export const go = (changes, options) => goTo(addressOf(changes), options);

/** Leave the items that were opened one from another: back to where the first was opened. */
export function closeItem() {
  const opened = history.state?.opened;
  if (opened) history.go(-opened);
  else go({ item: null }, { replace: true });
}

export function whenChanged(listener) {
  listeners.push(listener);
}

export function changed() {
  const state = current();
  for (const listener of listeners) listener(state);
}

window.addEventListener("popstate", changed);

/** A link within the page: a real address, followed without loading the page again. */
export function follow(link, address) {
  link.addEventListener("click", (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    goTo(address());
  });
}
