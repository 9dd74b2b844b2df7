// Text of a model → elements. Nobody vouches for that text: it is made HTML by marked and then stripped by DOMPurify of
// everything that could run, load or send; the page's Content Security Policy stands behind that.

import { Marked } from "../vendor/marked.js";
import hljs from "../vendor/highlight/core.js";
import bash from "../vendor/highlight/bash.js";
import diff from "../vendor/highlight/diff.js";
import json from "../vendor/highlight/json.js";
import python from "../vendor/highlight/python.js";
import yaml from "../vendor/highlight/yaml.js";
import "../vendor/purify.js";
import { h, icon } from "../page/dom.js";
import { t } from "../page/words.js";

const LANGUAGES = { bash, diff, json, python, yaml };
const LONGEST_HIGHLIGHTED = 20_000;

for (const [name, grammar] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, grammar);

const marked = new Marked({ gfm: true, breaks: true, renderer: { code, image, html: ({ text }) => escaped(text) } });
const purifier = globalThis.DOMPurify;

const ALLOWED = {
  ALLOWED_TAGS: [
    ..."a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i input li ol p pre s span strong sub sup".split(" "),
    ..."table tbody td th thead tr ul".split(" "),
  ],
  ALLOWED_ATTR: ["align", "checked", "class", "disabled", "href", "start", "title", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** Returns a fragment with `text` drawn. */
export function drawn(text) {
  const fragment = purifier.sanitize(marked.parse(text), ALLOWED);
  fragment.querySelectorAll("a").forEach(tame);
  fragment.querySelectorAll("input").forEach(tick);
  fragment.querySelectorAll("pre").forEach(frame);
  fragment.querySelectorAll("table").forEach((table) => {
    const box = h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": t("table") });
    table.replaceWith(box);
    box.append(table);
  });
  return fragment;
}

function code({ text, lang }) {
  const language = hljs.getLanguage(lang?.split(/\s/)[0] ?? "") ? lang.split(/\s/)[0] : null;
  const inner = language && text.length <= LONGEST_HIGHLIGHTED ? hljs.highlight(text, { language }).value : escaped(text);
  return `<pre><code class="language-${escaped(lang ?? "")}">${inner}\n</code></pre>`;
}

/** An image in an answer would be a request to wherever the model says; its text and address do no harm. */
function image({ href, text }) {
  return `<span class="no-image">${escaped(text || href)}</span>`;
}

function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function tame(link) {
  if (!link.hasAttribute("href")) return;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

/** What is left of an input is a list's tick box and nothing else. */
function tick(box) {
  const done = box.type === "checkbox" && box.checked;
  box.replaceWith(done ? "☑ " : "☐ ");
}

function frame(pre) {
  const inner = pre.querySelector("code");
  const language = /language-([\w+#.-]+)/.exec(inner?.className ?? "")?.[1] ?? "";
  const button = h("button", { class: "quiet small", type: "button", onclick: () => copy(inner.textContent, button) },
    icon("copy"), t("copy"));
  pre.tabIndex = 0;
  const box = h("div", { class: "code" });
  pre.replaceWith(box);
  box.append(h("div", { class: "code-bar" }, h("span", {}, language), button), pre);
}

/** Copies `text`, and says on the button that it did. */
export async function copy(text, button) {
  const before = [...button.childNodes];
  await navigator.clipboard.writeText(text);
  button.replaceChildren(icon("check"), t("copied"));
  setTimeout(() => button.replaceChildren(...before), 1500);
}
