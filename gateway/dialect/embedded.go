package dialect

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
)

// embeddingsAnswer puts vectors, JSON arrays of numbers, into OpenAI's format. They pass through as they are, unless the
// client wants base64. A zero usage is estimated.
func embeddingsAnswer(request *Embeddings, model string, vectors []json.RawMessage, usage Usage) (Completion, error) {
	if len(vectors) != len(request.Inputs) {
		return Completion{}, badAnswer() // which text a vector belongs to is known by its place only
	}

	if usage.Source != Reported {
		usage.fill(request.EstimatedPromptTokens(), 0)
	}

	body := []byte(`{"object":"list","data":[`)

	for i, vector := range vectors {
		if kindOf(vector) != '[' {
			return Completion{}, badAnswer()
		}

		if i > 0 {
			body = append(body, ',')
		}

		body = strconv.AppendInt(append(body, `{"object":"embedding","index":`...), int64(i), 10)
		body = append(body, `,"embedding":`...)

		if request.EncodingFormat == formatBase64 {
			packed, failure := packVector(vector)
			if failure != nil {
				return Completion{}, failure
			}

			body = append(append(append(body, '"'), packed...), '"')
		} else {
			body = append(body, vector...)
		}

		body = append(body, '}')
	}

	body = appendText(append(body, `],"model":`...), model)
	body = strconv.AppendInt(append(body, `,"usage":{"prompt_tokens":`...), usage.Tokens.Prompt(), 10)
	body = strconv.AppendInt(append(body, `,"total_tokens":`...), usage.Tokens.Prompt(), 10)

	return Completion{Body: append(body, `}}`...), Usage: usage}, nil
}

// formatBase64 is the encoding of vectors that OpenAI's own clients ask for unless they are told otherwise.
const formatBase64 = "base64"

// packVectors packs the vectors of an answer in OpenAI's format that are still arrays: many servers that speak the format
// overlook that base64 was asked for.
func packVectors(body []byte) ([]byte, *Failure) {
	vectors := 0

	for entry := range elements(member(body, "data")) {
		if kindOf(member(entry, "embedding")) == '[' {
			vectors++
		}
	}

	if vectors == 0 {
		return body, nil
	}

	var answer map[string]json.RawMessage

	var entries []map[string]json.RawMessage
	if json.Unmarshal(body, &answer) != nil || json.Unmarshal(answer["data"], &entries) != nil {
		return nil, badAnswer()
	}

	for _, entry := range entries {
		if kindOf(entry["embedding"]) != '[' {
			continue
		}

		packed, failure := packVector(entry["embedding"])
		if failure != nil {
			return nil, failure
		}

		entry["embedding"] = json.RawMessage(`"` + packed + `"`)
	}

	packed, err := json.Marshal(entries)
	if err == nil {
		answer["data"] = packed
		body, err = json.Marshal(answer)
	}

	if err != nil {
		return nil, badAnswer()
	}

	return body, nil
}

// packVector is a vector as OpenAI packs it: 32-bit floats, the lowest byte first, in base64.
func packVector(vector json.RawMessage) (string, *Failure) {
	var numbers []float32
	if json.Unmarshal(vector, &numbers) != nil {
		return "", badAnswer()
	}

	packed := make([]byte, 0, 4*len(numbers))
	for _, number := range numbers {
		packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(number))
	}

	return base64.StdEncoding.EncodeToString(packed), nil
}
