// One answer as it comes, and what it cost.

import { chunksOf } from "./events.js";
import { ask } from "./sessions.js";

/**
 * Asks, and calls `onText(text)` with all of the answer so far whenever more is here. Returns `{text, reason, stats}` of
 * a whole answer. Raises ApiError before it has begun, BrokenStream within, AbortError when `signal` says so.
 */
export async function turn({ sessionId, content, parameters, signal, onHeaders, onText }) {
  const clock = new Clock();
  const response = await ask(sessionId, content, parameters, signal);
  onHeaders(response.headers);
  let text = "";
  let reason = null;
  let usage = null;
  for await (const chunk of chunksOf(response)) {
    usage = chunk.usage ?? usage;
    const choice = chunk.choices?.[0];
    reason = choice?.finish_reason ?? reason;
    if (choice?.delta?.content) {
      text += choice.delta.content;
      clock.token();
      onText(text);
    }
  }
  return { text, reason, stats: { ...clock.stats(usage), replica: response.headers.get("x-gateway-replica") } };
}

class Clock {
  #asked = performance.now();
  #first = 0;
  #last = 0;

  token() {
    this.#last = performance.now();
    this.#first ||= this.#last;
  }

  stats(usage) {
    const seconds = (this.#last - this.#first) / 1000;
    const tokens = usage?.completion_tokens ?? null;
    return {
      tokens,
      promptTokens: usage?.prompt_tokens ?? null,
      firstTokenMs: this.#first ? this.#first - this.#asked : null,
      // The first token began the count of time, so it is not one of those made within it.
      tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null,
    };
  }
}
