// Drives OpenAI's client for JavaScript for a test: one JSON object a line on stdin says what to call, one a line on stdout
// what came of it.
//
//   in   {client: {baseURL, apiKey, maxRetries}, call: "chat.completions.create", args: [...], take: 2}
//   out  {value} of a whole answer, {items} of a stream or list, {final} of a stream that the client has put together,
//        {headers} of the answer, {requests: [{status, retryAfterMs}]} as the client made them, {error}
//
// take ends a stream early, as a user does who closes the window.
import { createInterface } from 'node:readline';
import OpenAI from 'openai';

for await (const line of createInterface({ input: process.stdin })) {
  const { client, call, args = [], take = Infinity } = JSON.parse(line);
  const out = { items: [], requests: [] };
  try {
    const openai = new OpenAI({ ...client, fetch: noting(out.requests) });
    await follow(method(openai, call)(...args), out, take);
  } catch (error) {
    out.error = described(error);
  }
  process.stdout.write(JSON.stringify(out) + '\n');
}

// noting is fetch, with a note of each request: the client's retries are not to be seen from outside.
function noting(requests) {
  return async (...request) => {
    const response = await fetch(...request);
    requests.push({ status: response.status, retryAfterMs: response.headers.get('retry-after-ms') });
    return response;
  };
}

function method(openai, call) {
  const names = call.split('.');
  const last = names.pop();
  const resource = names.reduce((object, name) => object[name], openai);
  return resource[last].bind(resource);
}

async function follow(called, out, take) {
  if (called.finalChatCompletion) {
    out.final = await called.finalChatCompletion();
    return;
  }
  const { data, response } = await called.withResponse();
  out.headers = Object.fromEntries(response.headers);
  if (!data[Symbol.asyncIterator]) {
    out.value = data;
    return;
  }
  for await (const item of data) {
    out.items.push(item);
    if (out.items.length >= take) return;
  }
}

function described(error) {
  if (!(error instanceof OpenAI.APIError)) return { class: error.constructor.name, message: error.message };
  const { status, code, type, param, message, requestID } = error;
  return { class: error.constructor.name, isAPIError: true, status, code, type, param, message, requestID };
}
