// The two switches that both pages have: the theme and the language.

import { fill, h, icon } from "./dom.js";
import { currentTheme, nextTheme } from "./theme.js";
import { currentLanguage, LANGUAGES, setLanguage, t } from "./words.js";

const ICONS = { auto: "auto", light: "sun", dark: "moon" };

/** Returns the two buttons. */
export function switches() {
  return h("div", { class: "switches" }, languageButton(), themeButton());
}

function themeButton() {
  const button = h("button", { class: "quiet icon-only theme-switch", type: "button", onclick: () => show(nextTheme()) });
  function show(theme) {
    const name = `${t("theme")}: ${t(`theme_${theme}`)}`;
    button.setAttribute("aria-label", name);
    button.title = name;
    fill(button, icon(ICONS[theme]));
  }
  show(currentTheme());
  return button;
}

function languageButton() {
  const other = Object.keys(LANGUAGES).find((name) => name !== currentLanguage());
  return h("button", {
    class: "quiet language-switch", type: "button", lang: other === "zh" ? "zh-CN" : "en",
    "aria-label": LANGUAGES[other], title: LANGUAGES[other], onclick: () => setLanguage(other),
  }, icon("globe"), h("span", {}, LANGUAGES[other]));
}
