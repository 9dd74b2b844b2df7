// The messages of the open chat, in a box that follows its end while that is in view.

import { fill, h, icon } from "../page/dom.js";
import { t } from "../page/words.js";
import { MessageView } from "./message.js";

const NEAR_PX = 80;

export class Thread {
  #chat;
  #views = new Map();
  #list = h("div", { class: "messages" });
  #latest = h("button", { type: "button", class: "latest outline", hidden: true, onclick: () => this.#toEnd() },
    icon("down"), t("latest"));

  constructor(chat) {
    this.#chat = chat;
    this.box = h("div", { class: "thread", tabindex: "0", role: "region", "aria-label": t("title"), onscroll: () => this.#scrolled() },
      this.#list);
    this.element = h("div", { class: "thread-frame" }, this.box, this.#latest);
  }

  /** Draws all messages. */
  draw() {
    const { entries } = this.#chat;
    this.#views = new Map(entries.map((entry) => [entry, new MessageView(entry, this.#chat)]));
    fill(this.#list, ...(entries.length ? [...this.#views.values()].map(({ element }) => element) : [this.#welcome()]));
    this.#toEnd();
  }

  /** Draws one that has changed. */
  update(entry) {
    const follows = this.#atEnd;
    this.#views.get(entry)?.update();
    if (follows) this.#toEnd();
  }

  get #atEnd() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_PX;
  }

  #toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.#scrolled();
  }

  #scrolled() {
    this.#latest.hidden = this.#atEnd;
  }

  #welcome() {
    const model = this.#chat.model ?? "Gemma 3n";
    const example = (key) => h("button", { type: "button", class: "outline example",
      onclick: () => this.#chat.canSend && this.#chat.ask(t(key)) }, t(key));
    return h("div", { class: "welcome" },
      h("h2", {}, t("welcome")),
      h("p", { class: "muted" }, t("welcome_lead", { model })),
      h("div", { class: "examples" }, example("example_1"), example("example_2"), example("example_3")));
  }
}
