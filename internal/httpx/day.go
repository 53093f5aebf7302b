package httpx

import "time"

// NotDayOrTime is what is wrong with a text that DayOrTime does not take.
const NotDayOrTime = "must be a day such as 2025-02-01, or a time in RFC 3339"

// DayOrTime reads the bound of a span: a day, which stands for its first moment in UTC, or a moment.
func DayOrTime(text string) (at time.Time, isDay, ok bool) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, true, true
	}
	at, err := time.Parse(time.RFC3339, text)
	return at.UTC(), false, err == nil
}
