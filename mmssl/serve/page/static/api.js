// The server's JSON interface. Ids travel as query parameters, so that any id works.

/** A refusal by the server, in its own words, or a connection that failed. */
export class ApiError extends Error {}

/** The server searches for no more characters (code points, as it counts them). */
const asked = (words) => [...words].slice(0, 200).join("");

const json = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

export const api = {
  model: () => get("model", {}),
  users: (query, limit, signal) => get("users", { query: asked(query), limit }, signal),
  history: (user, signal) => get("history", { user }, signal),
  recommend: (user, k, parts, signal) => get("recommend", { user, k, parts }, signal),
  recommendFor: (history, k, signal) =>
    send("api/recommend", { ...json({ history, k }), signal }),
  items: (query, limit, signal) => get("items", { query: asked(query), limit }, signal),
  item: (id, signal) => get("item", { id }, signal),
  similar: (item, space, k, signal) => get("similar", { item, space, k }, signal),
  explain: (user, item, signal) => get("explain", { user, item }, signal),
  search: (fields, signal) => form("search", fields, signal),
  newItem: (fields, signal) => form("new-item", fields, signal),
};

/** A function that gives the signal of a new request and aborts the one before. */
export function newest() {
  let controller;
  return () => {
    controller?.abort();
    controller = new AbortController();
    return controller.signal;
  };
}

/** Run a task; hand its error to `failed`, except where a newer request has taken its place. */
export async function attempt(task, failed) {
  try {
    await task();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) console.error(error);
    failed(error instanceof ApiError ? error.message : "The page failed: " + error.message);
  }
}

function get(path, parameters, signal) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) query.append(key, one);
  }
  return send(`api/${path}?${query}`, { signal });
}

function form(path, fields, signal) {
  const body = new FormData();
  for (const [key, value] of Object.entries(fields)) body.append(key, value);
  return send(`api/${path}`, { method: "POST", body, signal });
}

async function send(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is `serve` still running?");
  }
  if (response.ok) return response.json();
  const { detail } = await response.json().catch(() => ({}));
  throw new ApiError(worded(detail) || `The server answered ${response.status}.`);
}

function worded(detail) {
  // A list is FastAPI's own answer to a parameter of the wrong kind.
  return Array.isArray(detail) ? detail.map((one) => one.msg).join("; ") : detail;
}
