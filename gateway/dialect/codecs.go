package dialect

import "github.com/archonhq/archon/gateway"

// codecOf is a type's side of the translation.
func codecOf(t gateway.ProviderType) (codec, bool) {
	switch t {
	case gateway.OpenAI, gateway.Mistral, gateway.AzureOpenAI, gateway.VLLM, gateway.Custom:
		return openAICodec{}, true
	case gateway.Anthropic:
		return anthropicCodec{}, true
	case gateway.Google:
		return googleCodec{}, true
	case gateway.Cohere:
		return cohereCodec{}, true
	case gateway.Ollama:
		return ollamaCodec{}, true
	}

	return nil, false
}

// codecFor is codecOf, unless the type can't be asked what chat asks.
func codecFor(attempt Attempt, chat *Chat) (codec, error) {
	codec, known := codecOf(attempt.Target.Type)
	if !known {
		return nil, unknownType()
	}

	if _, same := codec.(openAICodec); !same && chat.Foreign != "" {
		return nil, unsupported(chat.Foreign)
	}

	return codec, nil
}

func unknownType() *Failure {
	return &Failure{Trigger: Dead, Code: codeConfiguration, Message: "the provider's type is not known"}
}

// unsupported is what a request asks that a provider's type can't express.
func unsupported(param string) *Failure {
	return &Failure{
		Trigger: BadRequest, Code: "unsupported_parameter", Param: param,
		Message: "the provider of this model does not support '" + param + "'; leave it out or choose another model",
	}
}
