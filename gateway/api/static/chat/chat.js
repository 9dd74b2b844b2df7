// The state of the page and everything that can be done to it. Draws nothing: it says what has changed, as an event.
//
//   sessions   the list, or which chat is open     thread     its messages     entry      one of them, in `detail`
//   composer   whether and when one may send       notice     something to tell, in `detail`

import { ApiError, json } from "../page/account.js";
import { t } from "../page/words.js";
import { BrokenStream } from "./events.js";
import { limitsOf } from "./limits.js";
import { storedParameters } from "./parameters.js";
import * as api from "./sessions.js";
import { turn } from "./turn.js";

const TITLE_CHARACTERS = 60;
const SETTLE_MS = 300;
/** What the gateway needs to see that a client has left, and to keep what there was of the answer. */

export class Chat extends EventTarget {
  sessions = [];
  moreSessions = false;
  current = null;
  entries = [];
  models = [];
  model = null;
  parameters = storedParameters();
  system = "";
  draft = { text: "", image: null };
  running = null;
  limits = { requests: null, tokens: null };
  waitUntil = 0;
  problem = null;

  #stats = new Map();
  #ticking = 0;

  /** Reads what there is for whoever has signed in. */
  async load() {
    const [models, sessions] = await Promise.all([json("/v1/models"), api.listSessions()]);
    this.models = models.data;
    this.model = this.models[0]?.id ?? null;
    this.sessions = sessions.data;
    this.moreSessions = sessions.has_more;
    this.#say("sessions", "thread", "composer");
  }

  async loadMore() {
    const page = await api.listSessions(this.sessions.at(-1)?.id);
    this.sessions.push(...page.data);
    this.moreSessions = page.has_more;
    this.#say("sessions");
  }

  get canSend() {
    return !this.running && !this.problem && this.waitSeconds === 0;
  }

  get waitSeconds() {
    return Math.max(0, Math.ceil((this.waitUntil - Date.now()) / 1000));
  }

  /** Whether the model that answers here reads images. */
  get takesImages() {
    return this.models.find(({ id }) => id === this.#modelHere)?.modalities?.includes("image") ?? false;
  }

  get title() {
    return this.current ? this.current.title || t("untitled") : t("new_chat");
  }

  get #modelHere() {
    return this.current?.model || this.model;
  }

  /** Goes on with what somebody left who had to sign in again. */
  async resume({ session, draft }) {
    this.draft = draft;
    if (session) await this.open(this.sessions.find(({ id }) => id === session.id) ?? session);
    this.#say("composer");
  }

  startNew() {
    this.stop();
    this.current = null;
    this.entries = [];
    this.#say("sessions", "thread", "composer");
  }

  async open(session) {
    this.stop();
    this.current = session;
    this.entries = [];
    this.#say("sessions");
    await this.#reporting(() => this.#read(session));
    this.#say("thread", "composer");
  }

  /** Sends what is in the draft. */
  async sendDraft() {
    const { text, image } = this.draft;
    if (!this.canSend || !(text.trim() || image)) return;
    const parts = [{ type: "image_url", image_url: { url: image } }, { type: "text", text: text.trim() }];
    this.draft = { text: "", image: null };
    await this.ask(image ? parts.filter((part) => part.text !== "") : text.trim());
  }

  /** Asks in the open chat, which is made if there is none. */
  async ask(content) {
    this.entries.push({ role: "user", content });
    await this.#answer(content);
  }

  /** Has the last question answered again. */
  async regenerate() {
    if (this.entries.at(-1)?.role === "assistant") this.entries.pop();
    await this.#answer(null);
  }

  /** Puts `content` in the place of a message of the user's; what came after it is gone. */
  async resend(entry, content) {
    await this.#reporting(async () => {
      await api.forgetFrom(this.current.id, entry.id);
      this.entries.splice(this.entries.indexOf(entry));
      await this.ask(content);
    });
  }

  /** Tries again what failed: from what the server kept of it. */
  async retry({ content }) {
    await this.#reporting(async () => {
      if (this.current) await this.#read(this.current);
      const kept = this.entries.at(-1);
      const wasKept = kept?.role === "assistant" && ["error", "cancelled"].includes(kept.finish_reason);
      if (content === null || wasKept) await this.regenerate();
      else await this.ask(content);
    });
  }

  /** Ends the answer that is being written. What is next need not wait until it is put away. */
  stop() {
    this.running?.abort();
    this.running = null;
    this.#say("composer");
  }

  async rename(title) {
    await this.#change({ title });
  }

  /** Takes new parameters; model and system prompt stay with the chat, if one is open. */
  async setParameters({ parameters, system, model }) {
    this.parameters = parameters;
    if (!this.current) [this.system, this.model] = [system, model ?? this.model];
    else if (system !== this.current.system || model !== this.#modelHere) await this.#change({ system, model });
    this.#say("thread", "composer");
  }

  async fork(from = null) {
    await this.#reporting(async () => {
      const copy = await api.forkSession(this.current.id, from, t("fork_title", { title: this.title }).slice(0, 200));
      this.sessions.unshift(copy);
      await this.open(copy);
      this.#notice(t("forked"));
    });
  }

  async exportAs(form) {
    await this.#reporting(() => api.exportSession(this.current.id, form, this.title));
  }

  async remove() {
    await this.#reporting(async () => {
      const { id } = this.current;
      this.stop();
      await api.deleteSession(id);
      this.#drop(id);
    });
  }

  /** Notes what the engine is doing; null while it is ready. */
  setProblem(problem) {
    if (this.problem && !problem) this.#notice(t("ready_again"));
    this.problem = problem;
    this.#say("composer");
  }

  async #answer(content) {
    const entry = { role: "assistant", content: "", streaming: true };
    const control = new AbortController();
    this.entries.push(entry);
    this.running = control;
    this.#say("thread", "composer");
    this.#notice(t("answering"));
    let synced = false;
    try {
      await this.#begin(content, control.signal);
      const done = await turn({
        sessionId: this.current.id,
        content,
        parameters: this.parameters,
        signal: control.signal,
        onHeaders: (headers) => this.#setLimits(headers),
        onText: (text) => {
          entry.content = text;
          this.#say("entry", entry);
        },
      });
      Object.assign(entry, { finish_reason: done.reason, stats: done.stats });
      this.#notice(t("answered", { text: entry.content.slice(0, 1000) }));
      synced = true;
    } catch (error) {
      synced = await this.#failed(entry, content, error);
    } finally {
      entry.streaming = false;
      if (this.running === control) this.running = null;
      this.#say("entry", entry);
      this.#say("composer");
    }
    if (synced) await this.#sync(entry);
  }

  /** Makes the chat that the first message is for. */
  async #begin(content, signal) {
    if (this.current) return;
    const text = typeof content === "string" ? content : content.find((part) => part.type === "text")?.text ?? "";
    const title = text.replace(/\s+/g, " ").slice(0, TITLE_CHARACTERS);
    const model = this.model ? { model: this.model } : {};
    const made = await api.createSession({ title, system: this.system, ...model });
    this.sessions.unshift(made);
    this.#say("sessions");
    // Whoever has left it meanwhile is not brought back.
    signal.throwIfAborted();
    this.current = made;
    this.#say("sessions");
  }

  /** Shows what went wrong; returns whether the server may have kept something of it. */
  async #failed(entry, content, error) {
    if (error.name === "AbortError") {
      entry.finish_reason = "cancelled";
      this.#notice(t("stopped"));
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      return true;
    }
    if (error instanceof ApiError && this.#takenBack(entry, content, error)) return false;
    if (error instanceof ApiError && error.headers) this.#setLimits(error.headers);
    const told = error.status === 0 ? t("unreachable") : error.message;
    const text = t(error instanceof BrokenStream ? "broken" : "failed", { message: told });
    entry.error = { text, content };
    this.#notice(text);
    this.dispatchEvent(new Event("failed"));
    if (!(error instanceof ApiError || error instanceof BrokenStream)) throw error;
    return false;
  }

  /** Gives a message back to the draft where it was refused for a reason that passes or that is not its own. */
  #takenBack(entry, content, error) {
    const gone = error.code === "session_not_found";
    if (![401, 429].includes(error.status) && !gone) return false;
    this.entries = this.entries.filter((each) => each !== entry && (content === null || each.content !== content || each.id));
    if (content !== null) this.draft = draftOf(content);
    if (gone) {
      this.#notice(t("gone"));
      this.#drop(this.current.id);
    }
    if (error.status === 429) this.#wait(error);
    this.#say("thread", "composer");
    return true;
  }

  #wait(error) {
    this.#setLimits(error.headers);
    if (!error.retryAfterMs) {
      this.#notice(t("quota", { message: error.message }), true);
      return;
    }
    this.waitUntil = Date.now() + error.retryAfterMs;
    this.#notice(t("wait", { seconds: this.waitSeconds }));
    clearInterval(this.#ticking);
    this.#ticking = setInterval(() => {
      if (this.waitSeconds === 0) {
        clearInterval(this.#ticking);
        this.#notice(t("wait_over"));
      }
      this.#say("composer");
    }, 250);
  }

  #setLimits(headers) {
    const limits = limitsOf(headers);
    if (limits.requests || limits.tokens) this.limits = limits;
    this.#say("composer");
  }

  /** Takes the messages as the server has them, with their ids, if the answer is among them. */
  async #sync(entry) {
    const session = this.current;
    if (!session || this.running) return;
    const messages = await api.readMessages(session.id).catch(() => null);
    const last = messages?.at(-1);
    if (session !== this.current || this.running || last?.role !== "assistant") return;
    if (entry.finish_reason !== "cancelled" && last.content !== entry.content) return;
    if (entry.stats) this.#stats.set(last.id, entry.stats);
    if (messages.length === this.entries.length) {
      this.#take(messages);
      this.#say("thread");
    }
  }

  async #read(session) {
    const messages = await api.readMessages(session.id);
    if (this.current === session) this.#take(messages);
  }

  #take(messages) {
    this.entries = messages
      .filter(({ role }) => role === "user" || role === "assistant")
      .map((message) => ({ ...message, stats: this.#stats.get(message.id) }));
  }

  async #change(fields) {
    await this.#reporting(async () => {
      Object.assign(this.current, await api.changeSession(this.current.id, fields));
      this.#say("sessions");
    });
  }

  #drop(id) {
    this.sessions = this.sessions.filter((session) => session.id !== id);
    if (this.current?.id === id) this.startNew();
    this.#say("sessions");
  }

  /** Runs an action; what the server says against it is told and changes nothing. */
  async #reporting(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === "session_not_found") {
        this.#notice(t("gone"), true);
        this.#drop(this.current.id);
      } else {
        const absent = error.status === 405 || (error.status === 404 && error.code === "not_found");
        this.#notice(absent ? t("not_offered") : error.message || t("unreachable"), true);
      }
    }
  }

  /** Tells everybody something. */
  tell(text) {
    this.#notice(text, true);
  }

  /** Tells something: to screen readers, and to everybody where it is `seen`. */
  #notice(text, seen = false) {
    this.dispatchEvent(new CustomEvent("notice", { detail: { text, seen } }));
  }

  #say(name, ...rest) {
    if (name === "entry") {
      this.dispatchEvent(new CustomEvent("entry", { detail: rest[0] }));
      return;
    }
    for (const each of [name, ...rest]) this.dispatchEvent(new Event(each));
  }
}

/** Returns a message as a draft that would send it again. */
function draftOf(content) {
  if (typeof content === "string") return { text: content, image: null };
  const image = content.find((part) => part.type === "image_url");
  return { text: content.find((part) => part.type === "text")?.text ?? "", image: image?.image_url.url ?? null };
}
