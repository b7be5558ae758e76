// OpenAI's own npm client against the gateway: ordinary calls, unchanged. Where it is: LLMO_API_URL.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";

const model = "smollm2-135m";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const client = new OpenAI({ baseURL: `${process.env.LLMO_API_URL}/v1`, apiKey: "unused", maxRetries: 0, timeout: 120_000 });

test("a streamed and a whole chat are the same", async () => {
  const ask = { model, messages, max_tokens: 24, temperature: 0 };
  const whole = await client.chat.completions.create(ask);
  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
  assert.ok(text.trim());
  assert.equal(text, whole.choices[0].message.content);
});

test("a completion continues the text", async () => {
  const answer = await client.completions.create({ model, prompt: "The capital of France is", max_tokens: 8, temperature: 0 });
  assert.match(answer.choices[0].text, /Paris/);
});

test("a response streams typed events", async () => {
  const ask = { model, input: "What is the capital of France?", max_output_tokens: 24, temperature: 0 };
  const whole = await client.responses.create(ask);
  let text = "";
  let last;
  for await (const event of await client.responses.create({ ...ask, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event.type;
  }
  assert.ok(["response.completed", "response.incomplete"].includes(last));
  assert.equal(text, whole.output_text);
});

test("vectors come as the client asks for them", async () => {
  const answer = await client.embeddings.create({ model: "minilm-l6", input: ["one", "two"] });
  assert.equal(answer.data.length, 2);
  assert.ok(Math.abs(answer.data[0].embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3);
});

test("models are listed", async () => {
  const ids = [];
  for await (const one of client.models.list()) ids.push(one.id);
  assert.ok(ids.includes(model));
});

test("errors are the client's own", async () => {
  await assert.rejects(client.chat.completions.create({ model: "smollm2-135", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model, messages, temperature: -1 }), OpenAI.BadRequestError);
});
