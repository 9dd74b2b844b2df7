// Light, dark, or as the system says; the choice stays in this browser.

import { keep, kept } from "./words.js";

const STORED = "gemma-gateway.theme";
const ORDER = ["auto", "light", "dark"];

export function currentTheme() {
  const stored = kept(STORED);
  return ORDER.includes(stored) ? stored : "auto";
}

/** Shows the chosen theme; called before the first drawing. */
export function applyTheme() {
  const theme = currentTheme();
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function nextTheme() {
  keep(STORED, ORDER[(ORDER.indexOf(currentTheme()) + 1) % ORDER.length]);
  applyTheme();
  return currentTheme();
}
