// What the headers of an answer say of the caller's limits, in words.

import { number, t } from "../page/words.js";

/** Returns `{requests, tokens}`, each `{limit, remaining}` or null where the gateway says nothing. Pure. */
export function limitsOf(headers) {
  return { requests: one(headers, "requests"), tokens: one(headers, "tokens") };
}

/** Returns the sentence for the composer's foot, empty where there is no limit. */
export function limitsText({ requests, tokens }) {
  const parts = [];
  if (requests) parts.push(t("requests_left", { left: number(requests.remaining), of: number(requests.limit) }));
  if (tokens) parts.push(t("tokens_left", { left: number(tokens.remaining), of: number(tokens.limit) }));
  return parts.join(" · ");
}

function one(headers, kind) {
  const limit = headers.get(`x-ratelimit-limit-${kind}`);
  const remaining = headers.get(`x-ratelimit-remaining-${kind}`);
  return limit === null || remaining === null ? null : { limit: Number(limit), remaining: Number(remaining) };
}
