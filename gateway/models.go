package gateway

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
)

const (
	maxModelsKept     = 1000
	maxModelNameBytes = 256
)

// errNotModelList is what a web page, another API or garbage amounts to.
var errNotModelList = errors.New("answered with something that is not a model list")

// modelList is what an answer to a list request said.
type modelList struct {
	count int
	names []string // at most maxModelsKept, without odd ones
}

// parseModels reads a list of models in the form that the type documents. It
// is strict (every entry must name its model), because a captive portal or a
// wrong path also answers 200.
func parseModels(t ProviderType, body []byte) (modelList, error) {
	switch t {
	case Google, Cohere, Ollama:
		return parseObject(body, "models", "name")
	case Custom:
		return parseCustom(body)
	case OpenAI, Anthropic, Mistral, AzureOpenAI, VLLM:
	}

	return parseObject(body, "data", "id")
}

// parseCustom also takes the variants that OpenAI-compatible servers are known
// to answer with: a bare array, or "models" for "data".
func parseCustom(body []byte) (modelList, error) {
	for _, parse := range []func() (modelList, error){
		func() (modelList, error) { return parseObject(body, "data", "id") },
		func() (modelList, error) { return parseObject(body, "models", "id") },
		func() (modelList, error) { return parseObject(body, "models", "name") },
	} {
		if list, err := parse(); err == nil {
			return list, nil
		}
	}

	return parseEntries(body, "id")
}

func parseObject(body []byte, field, key string) (modelList, error) {
	var document map[string]json.RawMessage
	if json.Unmarshal(body, &document) != nil {
		return modelList{}, errNotModelList
	}

	entries, found := document[field]
	if !found {
		return modelList{}, errNotModelList
	}

	return parseEntries(entries, key)
}

func parseEntries(raw []byte, key string) (modelList, error) {
	var entries []map[string]json.RawMessage
	if json.Unmarshal(raw, &entries) != nil || entries == nil {
		return modelList{}, errNotModelList
	}

	list := modelList{count: len(entries)}

	for _, entry := range entries {
		var name string
		if json.Unmarshal(entry[key], &name) != nil || name == "" {
			return modelList{}, errNotModelList
		}

		name = strings.TrimPrefix(name, "models/") // Google's resource names
		if len(list.names) < maxModelsKept && isPlainName(name) {
			list.names = append(list.names, name)
		}
	}

	return list, nil
}

func isPlainName(name string) bool {
	return name != "" && len(name) <= maxModelNameBytes &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}
