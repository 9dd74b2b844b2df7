// The whole page of somebody who has signed in.

import { fill, h, icon } from "../page/dom.js";
import { switches } from "../page/switches.js";
import { number, t } from "../page/words.js";
import { Composer } from "./composer.js";
import { askedText, confirmed } from "./dialog.js";
import { askedParameters } from "./parameters.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";

const NOTICE_MS = 6000;

export class Shell {
  #chat;
  #sidebar;
  #thread;
  #composer;
  #title = h("h1", {});
  #menu = h("details", { class: "menu" });
  #banner = h("p", { class: "banner", role: "status" });
  #live = h("p", { class: "unseen", role: "status", "aria-live": "polite" });
  #toast = h("p", { class: "toast", hidden: true });
  #listeners = new AbortController();

  constructor(chat) {
    this.#chat = chat;
    this.#sidebar = new Sidebar(chat);
    this.#thread = new Thread(chat);
    this.#composer = new Composer(chat);
    this.element = h("div", { class: "layout" },
      ...this.#sidebar.parts,
      h("main", {}, this.#bar(), this.#banner, this.#thread.element, this.#composer.element, this.#toast, this.#live));
    this.#listen();
    this.#drawTop();
    this.#drawBanner();
  }

  /** Called once it is in the document. */
  begin() {
    this.#thread.draw();
    // On a phone that would bring up the keyboard over half of the page.
    if (matchMedia("(hover: hover)").matches) this.#composer.focus();
  }

  end() {
    this.#listeners.abort();
  }

  #listen() {
    const { signal } = this.#listeners;
    const on = (name, action) => this.#chat.addEventListener(name, action, { signal });
    on("sessions", () => {
      this.#sidebar.draw();
      this.#drawTop();
    });
    on("thread", () => this.#thread.draw());
    on("entry", ({ detail }) => this.#thread.update(detail));
    on("composer", () => {
      this.#composer.draw();
      this.#drawBanner();
    });
    on("notice", ({ detail }) => this.#tell(detail));
    document.addEventListener("click", (event) => {
      if (!this.#menu.contains(event.target)) this.#menu.open = false;
    }, { signal });
  }

  #bar() {
    const opener = h("button", { type: "button", class: "quiet icon-only narrow-only", "aria-label": t("open_menu"),
      onclick: () => this.#sidebar.open(opener) }, icon("menu"));
    return h("header", { class: "bar" },
      opener, this.#title, this.#menu,
      h("span", { class: "space" }),
      h("button", { type: "button", class: "quiet icon-only", "aria-label": t("parameters"), title: t("parameters"),
        onclick: () => this.#askParameters() }, icon("tune")),
      switches());
  }

  #drawTop() {
    const chat = this.#chat;
    this.#title.textContent = chat.title;
    document.title = chat.current ? `${chat.title} – gemma-gateway` : "gemma-gateway";
    this.#menu.hidden = !chat.current;
    const item = (name, action) => h("li", {}, h("button", { type: "button", class: "quiet", onclick: () => {
      this.#menu.open = false;
      action();
    } }, name));
    fill(this.#menu,
      h("summary", { class: "quiet icon-only button", "aria-label": t("chat_actions"), title: t("chat_actions") }, icon("more")),
      h("ul", { onkeydown: (event) => event.key === "Escape" && this.#closeMenu() },
        item(t("rename"), () => this.#rename()),
        item(t("fork"), () => chat.fork()),
        item(t("export_markdown"), () => chat.exportAs("markdown")),
        item(t("export_json"), () => chat.exportAs("json")),
        item(t("delete"), () => this.#remove())));
  }

  #closeMenu() {
    this.#menu.open = false;
    this.#menu.querySelector("summary").focus();
  }

  #drawBanner() {
    const { problem } = this.#chat;
    this.#banner.hidden = !problem;
    if (!problem) return;
    const { stage, seconds } = problem;
    this.#banner.textContent = stage ? t("loading_stage", { stage, seconds: number(seconds ?? 0) }) : t("loading");
  }

  #tell({ text, seen }) {
    this.#live.textContent = text;
    if (!seen) return;
    this.#toast.textContent = text;
    this.#toast.hidden = false;
    setTimeout(() => {
      this.#toast.hidden = true;
    }, NOTICE_MS);
  }

  async #rename() {
    const title = await askedText(t("rename"), t("rename_label"), this.#chat.current.title);
    if (title !== null) await this.#chat.rename(title);
  }

  async #remove() {
    const { title } = this.#chat;
    if (await confirmed(t("delete_title"), t("delete_text", { title }), t("delete"))) await this.#chat.remove();
  }

  async #askParameters() {
    const { parameters, current, system, model, models } = this.#chat;
    const chosen = await askedParameters({
      parameters,
      system: current ? current.system : system,
      model: current?.model || model,
      models: models.map(({ id }) => id),
    });
    if (chosen) await this.#chat.setParameters(chosen);
  }
}
