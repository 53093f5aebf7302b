package gateway

// FieldType is how a form asks for a credential field.
type FieldType string

// The field types.
const (
	FieldPassword FieldType = "password" // a secret; never shown again
	FieldURL      FieldType = "url"
	FieldText     FieldType = "text"
	FieldNumber   FieldType = "number"
	FieldSelect   FieldType = "select" // one of Options
)

// Names and defaults of credential fields; part of the HTTP contract.
const (
	fieldAPIKey         = "api_key"
	fieldEndpoint       = "endpoint"
	fieldAPIVersion     = "api_version"
	fieldDeploymentName = "deployment_name"
	fieldBaseURL        = "base_url"
	fieldHeader         = "header"
	fieldPrefix         = "prefix"
	fieldModelsPath     = "models_path"

	defaultAuthHeader = "Authorization"
	defaultAuthPrefix = "Bearer"
)

// Field is one credential field of a provider type.
type Field struct {
	Name     string    `json:"name"`
	Type     FieldType `json:"type"`
	Required bool      `json:"required"`
	Default  string    `json:"default,omitempty"`
	Options  []string  `json:"options,omitempty"`

	// emptyCounts says that an empty value differs from none: no prefix at all
	// instead of Bearer, no list of models instead of the usual one.
	emptyCounts bool
}

// Schema lists the credential fields of a provider type in the order of a form.
type Schema struct {
	Fields []Field `json:"fields"`
}

// Field returns the field of that name.
func (s Schema) Field(name string) (Field, bool) {
	for _, field := range s.Fields {
		if field.Name == name {
			return field, true
		}
	}

	return Field{}, false
}

// CredentialSchemas says per provider type which credential fields it takes.
func CredentialSchemas() map[ProviderType]Schema {
	key := Field{Name: fieldAPIKey, Type: FieldPassword, Required: true}
	optionalKey := Field{Name: fieldAPIKey, Type: FieldPassword}

	return map[ProviderType]Schema{
		OpenAI:    {Fields: []Field{key}},
		Anthropic: {Fields: []Field{key}},
		Google:    {Fields: []Field{key}},
		Mistral:   {Fields: []Field{key}},
		Cohere:    {Fields: []Field{key}},
		AzureOpenAI: {Fields: []Field{
			key,
			{Name: fieldEndpoint, Type: FieldURL, Required: true},
			{Name: fieldAPIVersion, Type: FieldText, Default: azureAPIVersion},
			// Not required: without it the deployment of a call is the model it asks for.
			{Name: fieldDeploymentName, Type: FieldText},
		}},
		Ollama: {Fields: []Field{{Name: fieldBaseURL, Type: FieldURL, Default: DefaultBaseURL(Ollama)}}},
		VLLM:   {Fields: []Field{optionalKey}},
		Custom: {Fields: []Field{
			optionalKey,
			{Name: fieldHeader, Type: FieldText, Default: defaultAuthHeader},
			{Name: fieldPrefix, Type: FieldText, Default: defaultAuthPrefix, emptyCounts: true},
			{Name: fieldModelsPath, Type: FieldText, emptyCounts: true},
		}},
	}
}

// urlField is the credential field that names a type's base URL, or "".
func urlField(t ProviderType) string {
	switch t {
	case AzureOpenAI:
		return fieldEndpoint
	case Ollama:
		return fieldBaseURL
	case OpenAI, Anthropic, Google, Mistral, Cohere, VLLM, Custom:
	}

	return ""
}
