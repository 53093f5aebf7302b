package gateway_test

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
)

func TestValidateHeader(t *testing.T) {
	t.Parallel()

	for _, example := range []struct {
		name, value string
		want        error
	}{
		{"X-Team", "blue", nil},
		{"OpenAI-Organization", "org-123", nil},
		{"anthropic-beta", "", nil},
		{"Cookie", "a=b; c=d", nil},
		{"X_1.~", strings.Repeat("v", 4096), nil},
		{"", "v", gateway.ErrHeaderName},
		{"X Team", "v", gateway.ErrHeaderName},
		{"X-Team:", "v", gateway.ErrHeaderName},
		{"X-Team\r\nX-Evil", "v", gateway.ErrHeaderName},
		{"X-Tëam", "v", gateway.ErrHeaderName},
		{":authority", "v", gateway.ErrHeaderName},
		{strings.Repeat("x", 129), "v", gateway.ErrHeaderName},
		{"Host", "v", gateway.ErrHeaderReserved},
		{"content-length", "1", gateway.ErrHeaderReserved},
		{"CONNECTION", "close", gateway.ErrHeaderReserved},
		{"Transfer-Encoding", "chunked", gateway.ErrHeaderReserved},
		{"upgrade", "h2c", gateway.ErrHeaderReserved},
		{"TE", "trailers", gateway.ErrHeaderReserved},
		{"Trailer", "X", gateway.ErrHeaderReserved},
		{"Proxy-Authorization", "v", gateway.ErrHeaderReserved},
		{"proxy-anything", "v", gateway.ErrHeaderReserved},
		{"Accept-Encoding", "br", gateway.ErrHeaderReserved},
		{"x-correlation-id", "v", gateway.ErrHeaderReserved},
		{"X-Team", "a\r\nX-Evil: 1", gateway.ErrHeaderValue},
		{"X-Team", "a\nb", gateway.ErrHeaderValue},
		{"X-Team", "a\x00b", gateway.ErrHeaderValue},
		{"X-Team", "a\tb", gateway.ErrHeaderValue},
		{"X-Team", "a\x7fb", gateway.ErrHeaderValue},
		{"X-Team", "blü", gateway.ErrHeaderValue},
		{"X-Team", " blue", gateway.ErrHeaderValue},
		{"X-Team", "blue ", gateway.ErrHeaderValue},
		{"X-Team", strings.Repeat("v", 4097), gateway.ErrHeaderValue},
	} {
		if err := gateway.ValidateHeader(example.name, example.value); !errors.Is(err, example.want) {
			t.Errorf("%q: %q gives %v, want %v", example.name, example.value, err, example.want)
		}
	}
}

func TestValidateHeaders(t *testing.T) {
	t.Parallel()

	many := make(map[string]string)
	for i := range 33 {
		many["X-"+strconv.Itoa(i)] = "v"
	}

	for name, example := range map[string]struct {
		kind        gateway.ProviderType
		credentials map[string]string
		headers     map[string]string
		problems    []string
	}{
		"none":                     {gateway.OpenAI, nil, nil, nil},
		"good":                     {gateway.OpenAI, nil, map[string]string{"X-A": "1", "x-api-key": "2"}, nil},
		"openai's key":             {gateway.OpenAI, nil, map[string]string{"authorization": "v"}, []string{"authorization"}},
		"anthropic's key":          {gateway.Anthropic, nil, map[string]string{"X-API-Key": "v", "Authorization": "v"}, []string{"X-API-Key"}},
		"anthropic's version":      {gateway.Anthropic, nil, map[string]string{"Anthropic-Version": "v"}, []string{"Anthropic-Version"}},
		"google's key":             {gateway.Google, nil, map[string]string{"x-goog-api-key": "v"}, []string{"x-goog-api-key"}},
		"azure's key":              {gateway.AzureOpenAI, nil, map[string]string{"api-key": "v"}, []string{"api-key"}},
		"ollama has none":          {gateway.Ollama, nil, map[string]string{"Authorization": "Basic v"}, nil},
		"custom, as usual":         {gateway.Custom, nil, map[string]string{"Authorization": "v"}, []string{"Authorization"}},
		"custom, elsewhere":        {gateway.Custom, map[string]string{"header": "x-token"}, map[string]string{"X-Token": "v", "Authorization": "v"}, []string{"X-Token"}},
		"a name that is no name":   {gateway.OpenAI, nil, map[string]string{"hunter22\r\n": "v"}, []string{"custom_headers"}},
		"too many":                 {gateway.OpenAI, nil, many, []string{"custom_headers"}},
		"a value with a lie in it": {gateway.OpenAI, nil, map[string]string{"X-A": "hunter22\r\n"}, []string{"X-A"}},
	} {
		problems := gateway.ValidateHeaders(example.kind, example.credentials, example.headers)
		if got := slices.Sorted(maps.Keys(problems)); !slices.Equal(got, example.problems) {
			t.Errorf("%s: got %v, want %v", name, problems, example.problems)
		}

		for field, reason := range problems {
			if strings.Contains(field+reason, "hunter22") {
				t.Errorf("%s: %q: %q repeats what was sent", name, field, reason)
			}
		}
	}

	if twice := gateway.ValidateHeaders(gateway.OpenAI, nil, map[string]string{"X-A": "1", "x-a": "2"}); len(twice) != 1 {
		t.Errorf("one of two spellings should be refused: %v", twice)
	}
}
