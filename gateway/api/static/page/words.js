// Which language the page speaks, and what it says in it.

const STORED = "gemma-gateway.language";

let tables = {};
let language = chosen();

/** The languages there are, by their own names. */
export const LANGUAGES = { en: "English", zh: "中文" };

/** Takes the page's texts: `{en: {key: text}, zh: {…}}`. Called once for each table, before anything is drawn. */
export function learn(words) {
  for (const name of Object.keys(LANGUAGES)) tables[name] = { ...tables[name], ...words[name] };
  document.documentElement.lang = tag();
}

/** Returns the text for `key`, with `{name}` replaced. */
export function t(key, values = {}) {
  const text = tables[language][key] ?? tables.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Returns a number as this language writes it. */
export function number(value, digits = 0) {
  return value.toLocaleString(tag(), { maximumFractionDigits: digits });
}

export function currentLanguage() {
  return language;
}

/** Changes the language for this browser, and says so to whoever draws. */
export function setLanguage(name) {
  language = name;
  keep(STORED, name);
  document.documentElement.lang = tag();
  dispatchEvent(new Event("language"));
}

/** Returns what this browser was told to remember; a browser may refuse to. */
export function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // It is then asked again at the next visit.
  }
}

function chosen() {
  return kept(STORED) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
}

function tag() {
  return language === "zh" ? "zh-CN" : "en";
}
