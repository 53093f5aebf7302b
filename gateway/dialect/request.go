package dialect

import "encoding/json"

// Chat is a chat completion request in OpenAI's format, read as far as routing and translation need. What is not
// understood stays in Fields and goes upstream as it came where the provider speaks OpenAI's format.
type Chat struct {
	// Model is what the client asked for; may be empty, then routing chooses.
	Model  string
	Stream bool
	// IncludeUsage is stream_options.include_usage. Upstream is always asked for usage; the client sees it only then.
	IncludeUsage bool
	// MaxTokens is max_completion_tokens, or else max_tokens; 0 where neither was sent.
	MaxTokens int64
	// N is how many choices are wanted, at least 1.
	N     int64
	Needs Needs
	// User is the "user" field: the client's own name for its end user. Never logged.
	User     string
	Messages []Message
	Tools    []Tool
	// ToolChoice is "none", "auto", "required", or the name of a function in ToolName; empty where not sent.
	ToolChoice, ToolName string
	ParallelToolCalls    *bool
	// JSONSchema is set with response_format json_schema; JSONObject with json_object.
	JSONObject bool
	JSONSchema *JSONSchema
	Stop       []string
	// Temperature and the like are numbers as sent, empty where not.
	Temperature, TopP, FrequencyPenalty, PresencePenalty, Seed json.Number
	// ReasoningEffort is none, minimal, low, medium, high, …; empty where not sent.
	ReasoningEffort string
	// Foreign names the first thing that only types which speak OpenAI's format can take, such as an audio part; "" where
	// there is none. [Client] refuses such a request for other types before their codec sees it.
	Foreign string
	// Fields are all top-level fields as sent.
	Fields map[string]json.RawMessage

	foreignBytes int // of all that is foreign, as JSON
}

// Needs is what a provider must be capable of to serve a request.
type Needs struct{ Vision, FunctionCalling, JSONMode, Streaming, Embeddings bool }

// Message is one message of the conversation.
type Message struct {
	// Role is system, developer, user, assistant, tool (or the old function).
	Role, Name string
	Parts      []Part
	ToolCalls  []ToolCall
	// ToolCallID is set on a tool's answer.
	ToolCallID string
	Refusal    string
}

// Part is a piece of a message: a text, or an image.
type Part struct {
	Text string
	// Image is nil for a text.
	Image *Image
}

// Image is by URL, or its bytes in base64 with a media type.
type Image struct {
	URL               string
	MediaType, Base64 string
	// Detail is low, high, auto or empty.
	Detail string
}

// ToolCall is a call of a function that the model wants. Arguments are JSON as text, which models get wrong at times.
type ToolCall struct{ ID, Name, Arguments string }

// Tool is a function that the model may call. Parameters are a JSON Schema, nil where not sent.
type Tool struct {
	Name, Description string
	Parameters        json.RawMessage
	Strict            *bool
}

// JSONSchema is what an answer must fit.
type JSONSchema struct {
	Name   string
	Schema json.RawMessage
	Strict *bool
}

// Embeddings is an embeddings request in OpenAI's format.
type Embeddings struct {
	Model string
	// Inputs are the texts; TokenInputs is set instead where the client sent token ids, which only OpenAI-like types take.
	Inputs      []string
	TokenInputs bool
	Dimensions  int64
	// EncodingFormat is float or base64; empty is float.
	EncodingFormat string
	User           string
	Fields         map[string]json.RawMessage
}
