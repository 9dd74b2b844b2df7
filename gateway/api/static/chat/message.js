// One message of the thread.

import { fill, h, icon } from "../page/dom.js";
import { number, t } from "../page/words.js";
import { copy, drawn } from "./markdown.js";

const REDRAW_MS = 60;

/** Draws an entry of the chat, and again when it has changed: `element`, `update()`. */
export class MessageView {
  #entry;
  #chat;
  #body = h("div", { class: "body" });
  #foot = h("div", { class: "foot" });
  #due = 0;

  constructor(entry, chat) {
    this.#entry = entry;
    this.#chat = chat;
    const name = t(entry.role === "user" ? "you" : "assistant");
    this.element = h("article", { class: `message ${entry.role}`, "aria-label": name },
      h("h2", { class: "unseen" }, name), this.#body, this.#foot);
    this.#draw();
  }

  /** Draws what is new, but no more often than an eye can follow: the text is laid out anew each time. */
  update() {
    if (!this.#entry.streaming) this.#draw();
    else this.#due ||= setTimeout(() => this.#draw(), REDRAW_MS);
  }

  #draw() {
    clearTimeout(this.#due);
    this.#due = 0;
    const entry = this.#entry;
    if (entry.role === "user") fill(this.#body, ...this.#parts());
    else if (entry.streaming && !entry.content) fill(this.#body, waiting());
    else this.#body.replaceChildren(drawn(entry.content ?? ""));
    this.element.classList.toggle("streaming", Boolean(entry.streaming));
    fill(this.#foot, ...(entry.streaming ? [] : [this.#problem(), this.#note(), this.#actions()]));
  }

  #parts() {
    const { content } = this.#entry;
    if (typeof content === "string") return [content];
    return content.map((part) => (part.type === "image_url" && /^data:image\//.test(part.image_url.url)
      ? h("img", { src: part.image_url.url, alt: t("attached") })
      : part.text ?? `(${part.type})`));
  }

  #problem() {
    const { error } = this.#entry;
    return error && h("div", { class: "problem" },
      h("p", {}, error.text),
      h("button", { type: "button", class: "outline", onclick: () => this.#chat.retry(error) }, icon("again"), t("retry")));
  }

  #note() {
    const { finish_reason: reason, stats } = this.#entry;
    const parts = [];
    if (reason === "length") parts.push(t("cut"));
    if (reason === "cancelled") parts.push(t("stopped"));
    if (stats?.tokens) parts.push(t("tokens", { tokens: number(stats.tokens) }));
    if (stats?.tokensPerSecond) parts.push(t("tokens_per_second", { rate: number(stats.tokensPerSecond, 1) }));
    if (stats?.firstTokenMs) parts.push(t("first_token", { ms: number(stats.firstTokenMs) }));
    if (stats?.promptTokens) parts.push(t("prompt_tokens", { tokens: number(stats.promptTokens) }));
    if (stats?.replica) parts.push(t("replica", { name: stats.replica }));
    return parts.length > 0 && h("p", { class: "stats" }, ...parts.map((part) => h("span", {}, part)));
  }

  #actions() {
    const { role, content, id, error } = this.#entry;
    if (error) return null;
    const text = typeof content === "string" ? content : content.map((part) => part.text ?? "").join("\n");
    const last = this.#chat.entries.at(-1) === this.#entry;
    const copier = action("copy", t("copy"), () => copy(text, copier));
    return h("div", { class: "actions" },
      copier,
      role === "user" && id && typeof content === "string" && action("edit", t("edit"), () => this.#edit()),
      role === "assistant" && last && action("again", t("regenerate"), () => this.#chat.regenerate()),
      role === "assistant" && id && action("fork", t("fork_here"), () => this.#chat.fork(id)));
  }

  #edit() {
    const field = h("textarea", { "aria-label": t("edit_label"), rows: "3" });
    field.value = this.#entry.content;
    const leave = () => {
      this.#draw();
      this.#foot.querySelector("button")?.focus();
    };
    const submit = (event) => {
      event.preventDefault();
      if (field.value.trim()) this.#chat.resend(this.#entry, field.value.trim());
    };
    fill(this.#foot);
    fill(this.#body, h("form", {
      class: "edit", onsubmit: submit, onkeydown: (event) => event.key === "Escape" && leave(),
    }, field, h("div", { class: "buttons" },
      h("button", { type: "button", class: "quiet", onclick: leave }, t("cancel")),
      h("button", { type: "submit", class: "primary" }, t("send_again")))));
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

function action(drawing, name, onclick) {
  return h("button", { type: "button", class: "quiet small", onclick }, icon(drawing), name);
}

function waiting() {
  return h("p", { class: "waiting" }, h("span", { class: "unseen" }, t("thinking")), h("i"), h("i"), h("i"));
}
