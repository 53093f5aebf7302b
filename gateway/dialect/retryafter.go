package dialect

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what is believed.
const maxRetryAfter = 24 * time.Hour

// retryAfter is how long a provider asks to be left alone, by the headers that are in use; 0 where it does not say.
func retryAfter(header http.Header) time.Duration {
	if milliseconds, err := strconv.ParseFloat(header.Get("Retry-After-Ms"), 64); err == nil && milliseconds > 0 {
		return bounded(milliseconds / 1000)
	}

	if wait := waitFor(header.Get("Retry-After"), header); wait > 0 {
		return wait
	}

	return untilReset(header)
}

// untilReset reads the headers that say when a limit is reset. Of several limits those that are used up count, and where
// none says so, the first to be reset.
func untilReset(header http.Header) time.Duration {
	var longest, shortest time.Duration

	for name, values := range header {
		prefix, kind, found := strings.Cut(strings.ToLower(name), "ratelimit-reset")
		if !found {
			prefix, kind, found = cutSuffixReset(strings.ToLower(name))
		}

		if !found || len(values) == 0 {
			continue
		}

		wait := waitFor(values[0], header)
		if isUsedUp(header, prefix, kind) {
			longest = max(longest, wait)
		}

		if wait > 0 && (shortest == 0 || wait < shortest) {
			shortest = wait
		}
	}

	if longest > 0 {
		return longest
	}

	return shortest
}

// cutSuffixReset splits Anthropic's order of words: anthropic-ratelimit-tokens-reset.
func cutSuffixReset(name string) (prefix, kind string, found bool) {
	rest, found := strings.CutSuffix(name, "-reset")
	if !found {
		return "", "", false
	}

	prefix, kind, found = strings.Cut(rest, "ratelimit")

	return prefix, kind, found
}

func isUsedUp(header http.Header, prefix, kind string) bool {
	return header.Get(prefix+"ratelimit-remaining"+kind) == "0" || header.Get(prefix+"ratelimit"+kind+"-remaining") == "0"
}

// waitFor reads seconds, a duration such as 6m0s, or a time, which is measured against the answer's own Date.
func waitFor(text string, header http.Header) time.Duration {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return bounded(seconds)
	}

	if wait, err := time.ParseDuration(text); err == nil {
		return bounded(wait.Seconds())
	}

	for _, layout := range []string{http.TimeFormat, time.RFC850, time.ANSIC, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return bounded(at.Sub(answeredAt(header)).Seconds())
		}
	}

	return 0
}

func answeredAt(header http.Header) time.Time {
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		return at
	}

	return time.Now()
}

// bounded takes seconds from 0 to maxRetryAfter; a larger number is a point in time or a mistake, and worth the maximum.
func bounded(seconds float64) time.Duration {
	if seconds > 0 && seconds < maxRetryAfter.Seconds() {
		return time.Duration(seconds * float64(time.Second))
	}

	if seconds >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}

	return 0
}
