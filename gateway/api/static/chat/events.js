// Server-sent events of a chat completion, read from a response.

/** Splits the bytes of an event stream into what its `data:` lines say. Pure: `push(text)` returns the events so far. */
export class EventSplitter {
  #rest = "";
  #data = [];

  push(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    const events = [];
    for (const line of lines.map((each) => each.replace(/\r$/, ""))) {
      if (line === "") {
        if (this.#data.length) events.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice(5).replace(/^ /, ""));
      }
      // Anything else is a comment, such as the gateway's `: ping`, or a field that a chat completion has no use for.
    }
    return events;
  }
}

/** The stream ended without `[DONE]`, or with an error event: what came of the answer is not all of it. */
export class BrokenStream extends Error {
  constructor(error = {}) {
    super(error.message ?? "");
    this.code = error.code ?? null;
  }
}

/** Yields the chunks of a streamed chat completion. Raises BrokenStream. */
export async function* chunksOf(response) {
  const splitter = new EventSplitter();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new BrokenStream();
    });
    if (done) throw new BrokenStream();
    for (const event of splitter.push(value)) {
      if (event === "[DONE]") return;
      const chunk = JSON.parse(event);
      if (chunk.error) throw new BrokenStream(chunk.error);
      yield chunk;
    }
  }
}
