package dialect

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

type googleBatch struct {
	Requests []googleEmbedding `json:"requests"`
}

type googleEmbedding struct {
	Model      string        `json:"model"`
	Content    googleContent `json:"content"`
	Dimensions int64         `json:"outputDimensionality,omitempty"`
}

// embeddings always asks for a batch, which may be of one.
func (googleCodec) embeddings(ctx context.Context, attempt Attempt, request *Embeddings) (*http.Request, error) {
	if request.TokenInputs {
		return nil, cantEmbedTokens()
	}

	endpoint := googleEndpoint(attempt.Model, "batchEmbedContents")
	model := endpoint.Path[0] + "/" + strings.TrimSuffix(endpoint.Path[1], ":batchEmbedContents")
	document := googleBatch{Requests: make([]googleEmbedding, 0, len(request.Inputs))}

	for i := range request.Inputs {
		document.Requests = append(document.Requests, googleEmbedding{
			Model: model, Content: googleContent{Parts: []googlePart{{Text: &request.Inputs[i]}}}, Dimensions: request.Dimensions,
		})
	}

	return post(ctx, attempt, endpoint, document)
}

// embedded reads vectors; Google counts no tokens here.
func (googleCodec) embedded(attempt Attempt, request *Embeddings, body []byte) (Completion, error) {
	var document struct {
		Embeddings []struct {
			Values json.RawMessage `json:"values"`
		} `json:"embeddings"`
		Usage json.RawMessage `json:"usageMetadata"`
	}

	if json.Unmarshal(body, &document) != nil {
		return Completion{}, badAnswer()
	}

	vectors := make([]json.RawMessage, 0, len(document.Embeddings))
	for _, embedding := range document.Embeddings {
		vectors = append(vectors, embedding.Values)
	}

	return embeddingsAnswer(request, attempt.Model, vectors, googleTokens(document.Usage))
}
