package limits

import (
	"net/http"
	"strconv"
	"time"
)

// Headers are OpenAI's x-ratelimit-limit-, -remaining- and -reset- headers, for requests and for tokens: of each kind the
// limit of which the least remains. A refusal has Retry-After in whole seconds, rounded up, and retry-after-ms besides;
// one that never ends has neither.
func Headers(v Verdict) http.Header {
	h := http.Header{}
	tightest := map[Kind]Level{}
	for _, level := range v.Levels {
		if known, found := tightest[level.Kind]; !found || level.Remaining < known.Remaining {
			tightest[level.Kind] = level
		}
	}
	for kind, level := range tightest {
		h.Set("X-Ratelimit-Limit-"+string(kind), strconv.FormatInt(level.PerMinute, 10))
		h.Set("X-Ratelimit-Remaining-"+string(kind), strconv.FormatInt(level.Remaining, 10))
		h.Set("X-Ratelimit-Reset-"+string(kind), level.Reset.Round(time.Millisecond).String())
	}
	if !v.Allowed && !v.Never {
		h.Set("Retry-After", strconv.FormatInt(int64((v.RetryAfter+time.Second-1)/time.Second), 10))
		h.Set("Retry-After-Ms", strconv.FormatInt(v.RetryAfter.Milliseconds(), 10))
	}
	return h
}
