// OpenAI's own client for JavaScript, pointed at Archon. It finds address and key in the environment by itself:
//
//   npm ci
//   OPENAI_BASE_URL=http://localhost:8080/v1 OPENAI_API_KEY=ak_… node chat.mjs
import OpenAI from 'openai';

const client = new OpenAI();
const messages = [{ role: 'user', content: 'Say hello in three languages.' }];

try {
  const models = await client.models.list();
  const model = models.data[0].id;

  const answer = await client.chat.completions.create({ model, messages });
  console.log('plain:', answer.choices[0].message.content);
  console.log('tokens:', answer.usage.total_tokens);

  const stream = await client.chat.completions.create({ model, messages, stream: true });
  process.stdout.write('streamed: ');
  for await (const chunk of stream) {
    process.stdout.write(chunk.choices[0]?.delta.content ?? '');
  }
  console.log();
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  console.error(error.status, error.code);
  process.exitCode = 1;
}
