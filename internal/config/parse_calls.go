package config

import (
	"strconv"
	"strings"
)

func parseUsageRecording(raw string) (UsageRecording, error) {
	switch recording := UsageRecording(strings.ToLower(raw)); recording {
	case UsageDurable, UsageAsync:
		return recording, nil
	}

	return "", problemf("is %q; choose durable or async", raw)
}

func parseMaxTokens(raw string) (int64, error) {
	tokens, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || tokens < 1 || tokens > maxDefaultTokens {
		return 0, problemf("is %q; give a whole number from 1 to %d", raw, maxDefaultTokens)
	}

	return tokens, nil
}
