package dialect

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()

	const date = "Wed, 21 Oct 2026 07:28:00 GMT"

	for name, example := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"nothing":             {nil, 0},
		"seconds":             {map[string]string{"Retry-After": "20"}, 20 * time.Second},
		"part of a second":    {map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		"zero":                {map[string]string{"Retry-After": "0"}, 0},
		"negative":            {map[string]string{"Retry-After": "-3"}, 0},
		"nonsense":            {map[string]string{"Retry-After": "soon"}, 0},
		"not a number":        {map[string]string{"Retry-After": "NaN"}, 0},
		"for ever":            {map[string]string{"Retry-After": "1e300"}, maxRetryAfter},
		"a time":              {map[string]string{"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": date}, 30 * time.Second},
		"a time gone by":      {map[string]string{"Retry-After": "Wed, 21 Oct 2026 07:27:30 GMT", "Date": date}, 0},
		"azure":               {map[string]string{"Retry-After": "9", "Retry-After-Ms": "8400"}, 8400 * time.Millisecond},
		"openai":              {map[string]string{"X-Ratelimit-Reset-Requests": "120ms", "X-Ratelimit-Reset-Tokens": "6m0s"}, 120 * time.Millisecond},
		"openai, tokens used": {map[string]string{"X-Ratelimit-Reset-Requests": "120ms", "X-Ratelimit-Reset-Tokens": "6m0s", "X-Ratelimit-Remaining-Tokens": "0"}, 6 * time.Minute},
		"anthropic": {map[string]string{
			"Anthropic-Ratelimit-Tokens-Reset": "2026-10-21T07:29:00Z", "Anthropic-Ratelimit-Tokens-Remaining": "0",
			"Anthropic-Ratelimit-Requests-Reset": "2026-10-21T07:28:10Z", "Anthropic-Ratelimit-Requests-Remaining": "4", "Date": date,
		}, time.Minute},
		"the usual one first": {map[string]string{"Retry-After": "3", "X-Ratelimit-Reset-Tokens": "6m0s"}, 3 * time.Second},
	} {
		header := http.Header{}
		for key, value := range example.header {
			header.Set(key, value)
		}

		if got := retryAfter(header); got != example.want {
			t.Errorf("%s: got %s, want %s", name, got, example.want)
		}
	}
}
