// The list of chats. On a narrow screen it is a drawer in front of the page.

import { bearer, signOut } from "../page/account.js";
import { fill, h, icon } from "../page/dom.js";
import { t } from "../page/words.js";

const NARROW = matchMedia("(max-width: 800px)");

export class Sidebar {
  #chat;
  #list = h("ul", { class: "sessions" });
  #veil = h("div", { class: "veil", onclick: () => this.close() });
  #opener = null;

  constructor(chat) {
    this.#chat = chat;
    this.element = h("nav", { class: "sidebar", "aria-label": t("chats"), onkeydown: (event) => event.key === "Escape" && this.close() },
      h("div", { class: "brand" },
        h("img", { src: "/static/favicon.svg", alt: "", width: "22", height: "22" }),
        h("span", {}, "gemma-gateway"),
        h("button", { type: "button", class: "quiet icon-only narrow-only", "aria-label": t("close_menu"), onclick: () => this.close() }, icon("close"))),
      h("button", { type: "button", class: "outline new-chat", onclick: () => this.#go(() => chat.startNew()) }, icon("plus"), t("new_chat")),
      this.#list,
      h("div", { class: "sidebar-foot" },
        mayOperate() && h("a", { class: "quiet button", href: "/console", target: "_blank" }, icon("gauge"), t("console")),
        h("button", { type: "button", class: "quiet", onclick: signOut }, icon("leave"), t("sign_out"))));
    this.parts = [this.#veil, this.element];
    NARROW.addEventListener("change", () => this.close());
    this.close();
    this.draw();
  }

  draw() {
    const { sessions, moreSessions, current } = this.#chat;
    const items = sessions.map((session) => h("li", {},
      h("button", {
        type: "button", class: "session", "aria-current": session.id === current?.id ? "true" : null,
        onclick: () => this.#go(() => this.#chat.open(session)),
      }, session.title || t("untitled"))));
    if (!sessions.length) items.push(h("li", { class: "hint" }, t("no_chats")));
    if (moreSessions) items.push(h("li", {}, h("button", { type: "button", class: "quiet small", onclick: () => this.#chat.loadMore() }, t("more_chats"))));
    fill(this.#list, ...items);
  }

  open(opener) {
    this.#opener = opener;
    this.element.inert = false;
    this.element.classList.add("open");
    this.#veil.classList.add("open");
    this.element.querySelector("button").focus();
  }

  /** What is off the screen can't have the focus. */
  close() {
    this.element.classList.remove("open");
    this.#veil.classList.remove("open");
    this.element.inert = NARROW.matches;
    this.#opener?.focus();
    this.#opener = null;
  }

  #go(action) {
    this.#opener = null;
    this.close();
    action();
  }
}

/** Whether the bearer may see the operations view, as far as its token says. */
function mayOperate() {
  const { scope } = bearer();
  return scope === undefined || scope.split(" ").includes("admin");
}
