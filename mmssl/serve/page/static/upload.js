// A file to compare with the catalogue, with a look at it or a player beside the field.

import { el } from "./dom.js";

const ACCEPT = { image: "image/*", audio: "audio/*" };

/** Show what a file input holds; `chosen` is called with each new file. */
export function uploadField(input, chosen = () => {}) {
  const preview = el("div", { class: "preview" });
  let address = null;
  let modality = "image";
  input.after(preview);

  function show(file) {
    if (address) URL.revokeObjectURL(address);
    address = file ? URL.createObjectURL(file) : null;
    preview.replaceChildren();
    if (!file) return;
    if (modality === "audio") {
      preview.append(el("audio", { controls: true, src: address, "aria-label": file.name }));
      return;
    }
    const image = el("img", { src: address, alt: `Your picture ${file.name}` });
    // What a browser cannot show, as TIFF, the server may still read.
    image.addEventListener("error", () => image.remove());
    preview.append(image);
  }

  input.addEventListener("change", () => {
    const [file] = input.files;
    show(file);
    if (file) chosen(file);
  });

  return {
    /** Empty the field and make it one for a modality. */
    reset(kind) {
      modality = kind;
      input.accept = ACCEPT[kind];
      input.value = "";
      show(null);
    },
  };
}
