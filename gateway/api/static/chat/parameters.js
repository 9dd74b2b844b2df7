// What goes along with every message: temperature, length, model, and the session's system prompt.

import { h } from "../page/dom.js";
import { keep, kept, number, t } from "../page/words.js";
import { shown } from "./dialog.js";

const STORED = "gemma-gateway.parameters";
const DEFAULT_TEMPERATURE = 0.7;

/** Returns what this browser remembers: `{temperature?, max_tokens?}`. */
export function storedParameters() {
  try {
    const { temperature, max_tokens } = JSON.parse(kept(STORED) ?? "{}");
    return {
      ...(Number.isFinite(temperature) && { temperature }),
      ...(Number.isInteger(max_tokens) && max_tokens > 0 && { max_tokens }),
    };
  } catch {
    return {};
  }
}

/** Shows the dialog. Returns `{parameters, system, model}`, or null where it was left. */
export async function askedParameters({ parameters, system, model, models }) {
  const fields = {
    own: h("input", { type: "checkbox", id: "own-temperature", ...(parameters.temperature !== undefined && { checked: true }) }),
    temperature: h("input", {
      type: "range", id: "temperature", min: "0", max: "2", step: "0.1",
      value: parameters.temperature ?? DEFAULT_TEMPERATURE,
    }),
    length: h("input", { type: "number", id: "max-tokens", min: "1", step: "1", inputmode: "numeric",
      value: parameters.max_tokens ?? "", placeholder: t("model_default") }),
    model: h("select", { id: "model" },
      ...models.map((name) => h("option", { value: name, selected: name === model }, name))),
    system: h("textarea", { id: "system", rows: "5", value: system, maxlength: "100000", placeholder: t("system_hint") }),
  };
  const answer = await shown(t("parameters"), form(fields), "parameters");
  if (answer !== "yes") return null;
  const chosen = {
    ...(fields.own.checked && { temperature: Number(fields.temperature.value) }),
    ...(fields.length.value && { max_tokens: Number(fields.length.value) }),
  };
  keep(STORED, JSON.stringify(chosen));
  return { parameters: chosen, system: fields.system.value, model: fields.model.value };
}

function form({ own, temperature, length, model, system }) {
  const shownValue = h("output", { for: "temperature" });
  const show = () => {
    temperature.disabled = !own.checked;
    shownValue.textContent = own.checked ? number(Number(temperature.value), 1) : t("model_default");
  };
  own.addEventListener("change", show);
  temperature.addEventListener("input", show);
  show();
  const close = (value) => (event) => {
    event.preventDefault();
    event.target.closest("dialog").close(value);
  };
  return h("form", { onsubmit: close("yes") },
    h("label", { for: "model" }, t("model")), model,
    h("div", { class: "row" }, h("label", { for: "temperature" }, t("temperature")), shownValue),
    temperature,
    h("label", { class: "check", for: "own-temperature" }, own, t("own_temperature")),
    h("label", { for: "max-tokens" }, t("max_tokens")), length,
    h("label", { for: "system" }, t("system")), system,
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "quiet", onclick: close("") }, t("cancel")),
      h("button", { type: "submit", class: "primary" }, t("save"))));
}
