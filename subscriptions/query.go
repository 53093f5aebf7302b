package subscriptions

import (
	"net/url"
	"strconv"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// query is what a subscriber asks for.
type query struct {
	streams, types eventstore.Names
	// after is the position to begin after, -1 for the end of the log.
	after  int64
	ticket string
}

// maxQueryBytes bounds the query: two lists of fifty names.
const maxQueryBytes = 24 << 10

// parse reads the query. A parameter that is not known, or comes twice, is an error: a misspelt filter must not let
// everything through.
func parse(raw string) (query, error) {
	asked := query{after: -1}
	if len(raw) > maxQueryBytes {
		return asked, httpx.InvalidParameters(map[string]any{"(query)": "is too long"})
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return asked, httpx.InvalidParameters(map[string]any{"(query)": "is not well-formed"})
	}
	wrong := map[string]any{}
	for name, sent := range values {
		where, reason := "(query)", "has a parameter more than once"
		if len(sent) == 1 {
			where, reason = asked.set(name, sent[0])
		}
		if reason != "" {
			wrong[where] = reason
		}
	}
	if len(wrong) > 0 {
		return query{after: -1}, httpx.InvalidParameters(wrong)
	}
	return asked, nil
}

// set takes one parameter; reason says what is wrong with the one named by where, and is empty where nothing is.
func (q *query) set(name, sent string) (where, reason string) {
	var err error
	switch name {
	case "streams":
		q.streams, err = eventstore.ParseNames(sent)
	case "types":
		q.types, err = eventstore.ParseNames(sent)
	case "after":
		if q.after, err = strconv.ParseInt(sent, 10, 64); err != nil || q.after < 0 {
			return name, "must be a position, 0 for the beginning"
		}
	case "ticket":
		q.ticket = sent
	default:
		// The name is not repeated: a token in the wrong place would be.
		return "(query)", "has a parameter that is not known; there are streams, types, after and ticket"
	}
	if err != nil {
		return name, err.Error()
	}
	return name, ""
}
