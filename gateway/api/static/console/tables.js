// Engines, outcomes, tenants and the last errors, as tables.

import { h } from "../page/dom.js";
import { currentLanguage, number, t } from "../page/words.js";

const RATE_SECONDS = 10;
const CACHE_SECONDS = 60;
const OUTCOMES = ["ok", "refused", "client_gone", "upstream_failed", "timed_out", "failed"];

/** Returns the table of engines. */
export function engines(history) {
  const rows = history.latest.engines.map((engine) => [
    h("strong", {}, engine.name),
    h("span", { class: `state ${engine.state}` }, t(`state_${engine.state}`)),
    number(engine.running),
    number(engine.waiting),
    gauge(engine.kv_cache_use),
    hitRate(history, engine),
    rate(history.rate((answer) => of(answer, engine)?.generated_tokens ?? 0, RATE_SECONDS)),
    engine.models.join(", "),
    engine.last_error ?? "",
  ]);
  const head = ["engine", "state", "running", "waiting", "kv_cache", "prefix_cache", "tokens_per_second", "models", "last_error"];
  return table(t("engines"), head, rows, t("no_engines"), [2, 3, 5, 6]);
}

/** Returns the counts of how requests ended. */
export function outcomes({ requests, retries }) {
  const rows = [...OUTCOMES.map((name) => [name, requests[name] ?? 0]), ["retries", retries]];
  return h("section", {}, h("h2", {}, t("outcomes")), h("dl", { class: "outcomes" },
    ...rows.map(([name, count]) => h("div", { class: name }, h("dt", {}, t(`outcome_${name}`)), h("dd", {}, number(count))))));
}

/** Returns the tenants that used most. */
export function tenants({ tenants: found }) {
  const rows = found.map(({ tenant, tier, suspended, tokens, requests, limits }) => [
    h("strong", {}, tenant),
    suspended ? t("suspended") : tier,
    number(tokens),
    number(requests),
    limitsText(limits.user),
    limitsText(limits.tenant),
  ]);
  const head = ["tenant", "tier", "tokens", "requests", "user_limits", "tenant_limits"];
  return table(t("tenants"), head, rows, t("no_tenants"), [2, 3]);
}

/** Returns the last errors. */
export function errors({ errors: found }) {
  const time = new Intl.DateTimeFormat(currentLanguage() === "zh" ? "zh-CN" : "en-GB", { timeStyle: "medium" });
  const rows = found.map((error) => [
    time.format(error.at * 1000), error.status || "–", error.code, error.route, error.tenant, error.replica ?? "–",
    h("code", {}, error.request_id),
  ]);
  return table(t("errors"), ["time", "status", "code", "route", "tenant", "engine", "request"], rows, t("no_errors"), []);
}

function table(title, head, rows, none, numeric) {
  const cell = (tag) => (content, index) => h(tag, { class: numeric.includes(index) ? "number" : null, scope: tag === "th" ? "col" : null }, content);
  if (!rows.length) return h("section", {}, h("h2", {}, title), h("p", { class: "hint" }, none));
  return h("section", {}, h("h2", {}, title),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": title },
      h("table", {},
        h("thead", {}, h("tr", {}, ...head.map((name, index) => cell("th")(t(`head_${name}`), index)))),
        h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map(cell("td"))))))));
}

function gauge(share) {
  return h("span", { class: "gauge" },
    h("meter", { min: "0", max: "1", high: "0.9", value: String(share), "aria-label": t("head_kv_cache") }), percent(share));
}

function hitRate(history, engine) {
  const before = of(history.before(CACHE_SECONDS), engine);
  const grown = (name) => engine[name] - (before?.[name] ?? 0);
  const recent = grown("prefix_queries") > 0;
  const [hits, queries] = recent ? [grown("prefix_hits"), grown("prefix_queries")] : [engine.prefix_hits, engine.prefix_queries];
  return queries > 0 ? percent(hits / queries) : "–";
}

function of(answer, { name }) {
  return answer.engines.find((engine) => engine.name === name);
}

function limitsText(limits = {}) {
  const parts = Object.entries(limits).map(([name, value]) => t(`limit_${name}`, { value: number(value) }));
  return parts.join(", ") || "–";
}

function percent(share) {
  return `${number(share * 100, share > 0 && share < 0.1 ? 1 : 0)} %`;
}

function rate(value) {
  return value === null ? "–" : number(value, value < 10 ? 1 : 0);
}
