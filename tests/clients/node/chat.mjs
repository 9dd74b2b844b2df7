// Talks to a gateway with the stock `openai` package and prints what came of it, as JSON, one object a line.
// node chat.mjs unary|stream|abort|timeout|errors|retry MODEL, with OPENAI_BASE_URL and OPENAI_API_KEY.
import OpenAI from "openai";

const [what, model] = process.argv.slice(2);
const client = new OpenAI();
const asked = { model, messages: [{ role: "user", content: "one two" }] };

function print(value) {
  console.log(JSON.stringify(value));
}

async function unary() {
  const { data, request_id, response } = await client.chat.completions.create(asked).withResponse();
  const content = data.choices[0].message.content;
  print({ content, usage: data.usage, id: data._request_id, request_id, replica: response.headers.get("x-gateway-replica") });
}

async function stream() {
  const chunks = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  const pieces = [];
  let usage = null;
  for await (const chunk of chunks) {
    pieces.push(chunk.choices[0]?.delta.content ?? "");
    usage = chunk.usage ?? usage;
  }
  const helper = client.chat.completions.stream(asked);
  print({ content: pieces.join(""), usage, helped: await helper.finalContent() });
}

// Stays alive afterwards until its input ends, so that what frees the engine is the abort and not the exit.
async function abort() {
  const chunks = await client.chat.completions.create({ ...asked, stream: true, max_tokens: 500 });
  for await (const chunk of chunks) {
    print({ first: chunk.object });
    break;
  }
  chunks.controller.abort();
  await endOfInput();
}

async function timeout() {
  try {
    await client.chat.completions.create(asked, { timeout: 300, maxRetries: 0 });
  } catch (error) {
    print({ timedOut: error instanceof OpenAI.APIConnectionTimeoutError });
  }
  await endOfInput();
}

async function errors() {
  const wrongKey = client.withOptions({ apiKey: "gg_wrong" });
  await report("BadRequestError", () => client.chat.completions.create({ ...asked, temperature: 9 }));
  await report("NotFoundError", () => client.chat.completions.create({ ...asked, model: "gpt-5" }));
  await report("AuthenticationError", () => wrongKey.models.list());
}

async function report(name, call) {
  try {
    await call();
    print({ name, raised: false });
  } catch (error) {
    const { status, code, param, type, requestID } = error;
    print({ name, raised: error instanceof OpenAI[name], status, code, param, type, requestID });
  }
}

// A full engine: the first answer is a 503 with a wait, the second attempt finds room.
async function retry() {
  const counts = [];
  const counting = client.withOptions({
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      counts.push([new Headers(init.headers).get("x-stainless-retry-count"), response.status]);
      if (response.status === 503) {
        print({ refused: response.headers.get("retry-after-ms") });
      }
      return response;
    },
  });
  const started = performance.now();
  const data = await counting.chat.completions.create(asked);
  print({ content: data.choices[0].message.content, counts, milliseconds: performance.now() - started });
}

async function endOfInput() {
  for await (const _ of process.stdin);
}

await { unary, stream, abort, timeout, errors, retry }[what]();
