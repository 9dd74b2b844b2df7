// The numbers at the top, each with its last minutes.

import { h } from "../page/dom.js";
import { number, t } from "../page/words.js";
import { plot } from "./plot.js";

const RATE_SECONDS = 10;
const PERCENTILE_SECONDS = 60;

/** Returns the cards for what has been seen so far. */
export function cards(history) {
  const requests = (answer) => Object.values(answer.requests).reduce((sum, count) => sum + count, 0);
  const tokens = (answer) => answer.tokens.completion ?? 0;
  const latest = history.latest;
  return h("div", { class: "cards" },
    card(t("requests_per_second"), perSecond(history.rate(requests, RATE_SECONDS)), "",
      history.series((at) => history.rate(requests, RATE_SECONDS, at))),
    card(t("tokens_per_second"), perSecond(history.rate(tokens, RATE_SECONDS)), "",
      history.series((at) => history.rate(tokens, RATE_SECONDS, at))),
    percentiles(t("first_token"), history, (answer) => answer.first_token_seconds),
    percentiles(t("inter_token"), history, (answer) => answer.inter_token_seconds),
    card(t("in_flight"), number(latest.in_flight), "", history.series((at) => history.before(0, at).in_flight)),
    card(t("queued"), number(latest.queued), "", history.series((at) => history.before(0, at).queued)));
}

function percentiles(name, history, histogram) {
  const at = (share) => milliseconds(history.percentile(histogram, share, PERCENTILE_SECONDS));
  return card(name, at(0.5), t("percentiles", { p95: at(0.95), p99: at(0.99) }),
    history.series((index) => history.percentile(histogram, 0.5, PERCENTILE_SECONDS, index)));
}

function card(name, value, rest, values) {
  return h("section", { class: "tile" },
    h("h2", {}, name),
    h("p", { class: "value" }, value),
    h("p", { class: "rest" }, rest),
    plot(values));
}

function perSecond(value) {
  return value === null ? "–" : number(value, value < 10 ? 1 : 0);
}

export function milliseconds(seconds) {
  return seconds === null ? "–" : `${number(seconds * 1000, seconds < 0.01 ? 1 : 0)} ms`;
}
