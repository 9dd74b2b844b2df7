// The form in front of either page, until somebody has signed in.

import { signIn } from "./account.js";
import { h } from "./dom.js";
import { switches } from "./switches.js";
import { t } from "./words.js";

/** Returns the form. `note` says why it is shown, where there is more to say than that. */
export function signInView(title, note = "") {
  const field = h("input", {
    id: "credential", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "gg_…",
    "aria-describedby": "credential-hint sign-in-error",
  });
  const problem = h("p", { id: "sign-in-error", class: "problem", role: "alert" }, note);
  const button = h("button", { class: "primary", type: "submit" }, t("sign_in"));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await signIn(field.value.trim());
    } catch (error) {
      problem.textContent = whatWentWrong(error);
      button.disabled = false;
      field.select();
    }
  };
  const form = h("form", { class: "card sign-in", onsubmit: submit },
    h("img", { src: "/static/favicon.svg", alt: "", width: "36", height: "36" }),
    h("h1", {}, title),
    h("p", { class: "muted" }, t("sign_in_lead")),
    h("label", { for: "credential" }, t("credential")),
    field,
    h("p", { id: "credential-hint", class: "hint" }, t("credential_hint")),
    problem,
    button);
  queueMicrotask(() => field.focus());
  return h("main", { class: "centre" }, h("div", { class: "corner" }, switches()), form);
}

function whatWentWrong(error) {
  if (error.status === 401) return t("credential_wrong");
  if (error.status === 0) return t("unreachable");
  return error.message;
}
