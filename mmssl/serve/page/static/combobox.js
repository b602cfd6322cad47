// A text field with suggestions, by the ARIA pattern "editable combobox with list autocomplete".

import { el } from "./dom.js";

const PAUSE = 120;

/**
 * Make `input` and its listbox a combobox.
 *
 * @param {(query: string) => Promise<string[]>} suggest options for what was typed
 * @param {(value: string) => void} choose what to do with an option, or with what was typed
 */
export function combobox(input, list, suggest, choose) {
  let options = [];
  let active = -1;
  let timer = 0;

  function show(values) {
    options = values.map((value, n) =>
      el("li", { role: "option", id: `${list.id}-${n}`, "aria-selected": "false" }, value),
    );
    list.replaceChildren(...options);
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    activate(-1);
  }

  function close() {
    clearTimeout(timer);
    show([]);
  }

  function activate(n) {
    options[active]?.setAttribute("aria-selected", "false");
    active = n;
    const option = options[n];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    return input.setAttribute("aria-activedescendant", option.id);
  }

  async function open(query) {
    const values = await suggest(query);
    // Answers may come late: the field may have been left or typed in since.
    if (document.activeElement === input && values) show(values);
  }

  function take(value) {
    close();
    input.value = value;
    choose(value);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => open(input.value), PAUSE);
  });
  input.addEventListener("click", () => list.hidden && open(""));
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (list.hidden) open(input.value);
      else {
        // The field itself is one stop of the round: index -1.
        const stops = options.length + 1;
        activate(((active + 1 + step + stops) % stops) - 1);
      }
    } else if (event.key === "Enter" && (active >= 0 || input.value.trim())) {
      event.preventDefault();
      take(active >= 0 ? options[active].textContent : input.value.trim());
    } else if (event.key === "Escape") {
      if (list.hidden) input.value = "";
      close();
    }
  });
  // Pressing on an option must not take the focus from the field before the click.
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option.textContent);
  });
}
