// One sound at a time: the buttons on the cards share a player.

import { el } from "./dom.js";

const player = new Audio();
player.preload = "none";
let playing = null;

player.addEventListener("ended", stop);
player.addEventListener("error", () => {
  if (!playing) return;
  playing.title = "This sound cannot be played";
  playing.classList.add("broken");
  stop();
});

/** A button that plays and stops the sound of an item. */
export function playButton(item) {
  const button = el(
    "button",
    { type: "button", class: "play", "aria-pressed": "false", "aria-label": `Play: ${item.title}` },
    el("span", { "aria-hidden": "true" }),
  );
  button.addEventListener("click", () => (playing === button ? stop() : start(button, item.audio)));
  return button;
}

export function stop() {
  player.pause();
  playing?.setAttribute("aria-pressed", "false");
  playing = null;
}

function start(button, address) {
  stop();
  playing = button;
  button.setAttribute("aria-pressed", "true");
  player.src = address;
  // A refusal comes as an `error` event too; an interruption is no fault.
  player.play().catch(() => {});
}
