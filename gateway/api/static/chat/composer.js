// Where a message is written: the field, the image, send and stop, and what is left of the limits.

import { fill, h, icon } from "../page/dom.js";
import { t } from "../page/words.js";
import { asDataUrl } from "./image.js";
import { limitsText } from "./limits.js";

const TALLEST_PX = 240;

export class Composer {
  #chat;
  #field;
  #image = h("div", { class: "attachment" });
  #picker = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => this.#attach() });
  #attachButton;
  #sendButton;
  #stopButton;
  #hint = h("p", { class: "hint" });

  constructor(chat) {
    this.#chat = chat;
    this.#field = h("textarea", {
      rows: "1", "aria-label": t("message"), placeholder: t("placeholder"), enterkeyhint: "send",
      oninput: () => this.#typed(), onkeydown: (event) => this.#key(event),
    });
    this.#attachButton = button("image", t("attach"), "quiet", () => this.#picker.click());
    this.#stopButton = button("stop", t("stop"), "primary", () => chat.stop());
    this.#sendButton = button("send", t("send"), "primary");
    this.#sendButton.type = "submit";
    this.element = h("form", { class: "composer", onsubmit: (event) => this.#submit(event) },
      h("div", { class: "field" }, this.#image,
        h("div", { class: "line" }, this.#attachButton, this.#picker, this.#field, this.#stopButton, this.#sendButton)),
      this.#hint);
    this.draw();
  }

  /** Shows the state of the chat; the field's text only where the chat has another. */
  draw() {
    const { chat } = { chat: this.#chat };
    if (this.#field.value !== chat.draft.text) {
      this.#field.value = chat.draft.text;
      this.#grow();
    }
    const running = Boolean(chat.running);
    if (running && document.activeElement === this.#sendButton) this.#field.focus();
    if (!running && document.activeElement === this.#stopButton) this.#field.focus();
    this.#stopButton.hidden = !running;
    this.#sendButton.hidden = running;
    this.#sendButton.disabled = !chat.canSend || !(chat.draft.text.trim() || chat.draft.image);
    this.#attachButton.hidden = !chat.takesImages;
    this.#drawImage();
    const wait = chat.waitSeconds;
    this.#hint.classList.toggle("warning", wait > 0);
    this.#hint.textContent = wait ? t("wait", { seconds: wait }) : limitsText(chat.limits);
  }

  focus() {
    this.#field.focus();
  }

  #drawImage() {
    const { image } = this.#chat.draft;
    fill(this.#image, image && h("img", { src: image, alt: t("attached") }),
      image && button("close", t("remove_image"), "quiet", () => this.#setImage(null)));
    this.#image.hidden = !image;
  }

  #typed() {
    this.#chat.draft.text = this.#field.value;
    this.#grow();
    this.draw();
  }

  #grow() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(this.#field.scrollHeight, TALLEST_PX)}px`;
  }

  #key(event) {
    // While a word is being composed, as in Chinese, Enter takes it and sends nothing.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.element.requestSubmit();
    }
    if (event.key === "Escape" && this.#chat.running) this.#chat.stop();
  }

  #submit(event) {
    event.preventDefault();
    this.#chat.sendDraft();
    this.draw();
  }

  async #attach() {
    const [file] = this.#picker.files;
    this.#picker.value = "";
    try {
      if (file) this.#setImage(await asDataUrl(file));
    } catch {
      this.#hint.textContent = t("not_an_image");
    }
  }

  #setImage(image) {
    this.#chat.draft.image = image;
    this.draw();
    this.focus();
  }
}

function button(drawing, name, kind, onclick) {
  return h("button", { type: "button", class: `${kind} icon-only`, "aria-label": name, title: name, onclick }, icon(drawing));
}
