// The routes of `/v1/sessions`, by name.

import { json, send } from "../page/account.js";

const PAGE = 1000;

export function listSessions(after = null) {
  return json(`/v1/sessions?limit=50${after ? `&after=${encodeURIComponent(after)}` : ""}`);
}

export function createSession(fields) {
  return json("/v1/sessions", { method: "POST", body: fields });
}

export function changeSession(id, fields) {
  return json(path(id), { method: "PATCH", body: fields });
}

export function deleteSession(id) {
  return send(path(id), { method: "DELETE" });
}

export function forkSession(id, from, title) {
  return json(path(id, "/fork"), { method: "POST", body: { ...(from && { from }), title } });
}

/** Returns all messages, the oldest first. */
export async function readMessages(id) {
  const messages = [];
  for (let after = ""; ; ) {
    const page = await json(path(id, `/messages?limit=${PAGE}${after}`));
    messages.push(...page.data);
    if (!page.has_more || !page.data.length) return messages;
    after = `&after=${encodeURIComponent(page.last_id)}`;
  }
}

/** Deletes the message `from` and all that follow it. */
export function forgetFrom(id, from) {
  return send(path(id, `/messages?from=${encodeURIComponent(from)}`), { method: "DELETE" });
}

/** Begins an answer: to `content`, or the last one again where there is none. */
export function ask(id, content, parameters, signal) {
  const body = { ...parameters, stream: true, stream_options: { include_usage: true } };
  if (content === null) return send(path(id, "/regenerate"), { method: "POST", body, signal });
  return send(path(id, "/messages"), { method: "POST", body: { content, ...body }, signal });
}

/** Has the browser save the session as a file; `form` is `markdown` or `json`. */
export async function exportSession(id, form, name) {
  const blob = await (await send(path(id, `/export?format=${form}`))).blob();
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = `${name.replace(/[^\p{L}\p{N} _-]/gu, "").trim() || id}.${form === "markdown" ? "md" : "json"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function path(id, rest = "") {
  return `/v1/sessions/${encodeURIComponent(id)}${rest}`;
}
