// Package openai serves the data plane in OpenAI's own HTTP format, so that an unmodified OpenAI client works by changing
// its base URL and key: POST /v1/chat/completions (plain and streamed), POST /v1/embeddings, GET /v1/models.
//
// Its one invariant: every answer under /v1, errors included, is one that OpenAI's clients can read; and nothing of a
// request's content or of a key is logged or shown.
package openai
