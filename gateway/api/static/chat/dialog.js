// Questions in front of the page. The browser's own dialog keeps the focus within and gives it back.

import { h } from "../page/dom.js";
import { t } from "../page/words.js";

/** Shows `content` in a dialog until it closes; returns its return value. */
export function shown(title, content, className = "") {
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h("dialog", { class: `card ${className}`, "aria-labelledby": "dialog-title" }, heading, content);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Asks for a text; returns null where nobody gave one. */
export async function askedText(title, label, value) {
  const field = h("input", { id: "dialog-field", value, maxlength: "200", required: true, autofocus: true });
  const answer = await shown(title, asForm([h("label", { for: "dialog-field" }, label), field], t("save")));
  return answer === "yes" && field.value.trim() ? field.value.trim() : null;
}

/** Asks whether to go on. */
export async function confirmed(title, text, verb) {
  return (await shown(title, asForm([h("p", {}, text)], verb, "danger"))) === "yes";
}

function asForm(content, verb, kind = "primary") {
  const close = (value) => (event) => {
    event.preventDefault();
    event.target.closest("dialog").close(value);
  };
  return h("form", { onsubmit: close("yes") }, ...content,
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "quiet", onclick: close("") }, t("cancel")),
      h("button", { type: "submit", class: kind }, verb)));
}
