// One player for the page: a second press stops, another button takes over.
const player = new Audio();
let pressed = null;

function settle() {
  if (pressed) {
    pressed.setAttribute("aria-pressed", "false");
    pressed.querySelector("span").textContent = "▶";
  }
  pressed = null;
}

player.addEventListener("ended", settle);
player.addEventListener("error", settle);
for (const button of document.querySelectorAll("button[data-sound]")) {
  button.addEventListener("click", () => {
    const again = pressed === button;
    player.pause();
    settle();
    if (again) return;
    pressed = button;
    button.setAttribute("aria-pressed", "true");
    button.querySelector("span").textContent = "■";
    player.src = button.dataset.sound;
    // Taking over rejects the earlier button's promise: that must not reset this one.
    player.play().catch(() => {
      if (pressed === button) settle();
    });
  });
}
