package projections

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
)

// Ledgered tells whether a call belongs into the ledger: whether any attempt of it consumed something, or it succeeded. Of
// a call that was refused no provider has heard.
func Ledgered(recorded *usage.Recorded) bool {
	if recorded.Outcome == usage.Refused {
		return false
	}
	if consumed(recorded.Tokens) || recorded.CostUSD != "" || recorded.Unpriced || recorded.Outcome == usage.Succeeded {
		return true
	}
	for i := range recorded.Attempts {
		if isShare(&recorded.Attempts[i]) {
			return true
		}
	}
	return false
}

func consumed(t domain.Tokens) bool {
	return t.Input > 0 || t.CacheRead > 0 || t.CacheWrite > 0 || t.Output > 0 || t.Reasoning > 0
}

// isShare tells whether an attempt consumed something of its own: it did not answer, and is charged nevertheless.
func isShare(attempt *usage.Attempt) bool { return consumed(attempt.Tokens) || attempt.CostUSD != "" }

// Share is what one attempt of a call consumed and cost: a line of that provider's invoice.
type Share struct {
	// Provider is nil where there was none.
	Provider *uuid.UUID
	Model    string
	Tokens   domain.Tokens
	// Source says who counted, as usage.Attempt does.
	Source string
	// Priced says that Cost is known; it is 0 otherwise.
	Priced bool
	Cost   domain.Amount
}

// Call is a call as the ledger has it.
type Call struct {
	ID        uuid.UUID
	Position  int64
	StartedAt time.Time
	// RecordedAt is when the event occurred.
	RecordedAt time.Time
	Kind       string
	Outcome    string

	// Key is nil where there was none; empty text stands for none likewise.
	Key                                                *uuid.UUID
	ProviderType, User, Department, Agent, ExecutionID string

	// Answer is the share of the attempt that answered, or of the one that was tried last; GivenUp are those of attempts
	// before it that ended without an answer and consumed something. Few calls have any.
	Answer  Share
	GivenUp []Share
	// Tokens are those of all shares.
	Tokens domain.Tokens
	// Priced says that the cost of every share is known. Cost is the sum of those that are, and Known that there is one.
	Priced, Known bool
	Cost          domain.Amount
	// Price is the JSON of the price that was used for Answer, nil where none was.
	Price []byte
}

// Day is the day (UTC) that the call counts to: the one on which it began, whose price it has.
func (c *Call) Day() time.Time {
	const day = 24 * time.Hour
	return c.StartedAt.UTC().Truncate(day)
}

// CallOf is the ledger's row of a call that Ledgered is true of. It fails on what no data plane writes: ids that are none,
// a cost that is no amount, and one that is less than what attempts have cost.
func CallOf(recorded *usage.Recorded, position int64, at time.Time) (Call, error) {
	call := Call{
		Position: position, StartedAt: recorded.StartedAt.UTC().Truncate(time.Microsecond), RecordedAt: at,
		Kind: bounded(string(recorded.Kind)), Outcome: bounded(string(recorded.Outcome)),
		ProviderType: bounded(recorded.ProviderType), User: bounded(recorded.UserID),
		Department: bounded(recorded.DepartmentID), Agent: bounded(recorded.AgentID), ExecutionID: bounded(recorded.ExecutionID),
		Priced: !recorded.Unpriced, Known: !recorded.Unpriced || recorded.CostUSD != "",
	}
	if recorded.StartedAt.IsZero() {
		call.StartedAt = at
	}
	if len(recorded.Price) > 0 && string(recorded.Price) != "null" {
		call.Price = recorded.Price
	}
	var err error
	if call.ID, err = uuid.Parse(recorded.CallID); err != nil {
		return Call{}, fmt.Errorf("call_id: %w", err)
	}
	if call.Key, err = optionalID(recorded.KeyID); err != nil {
		return Call{}, fmt.Errorf("key_id: %w", err)
	}
	if recorded.CostUSD != "" {
		if call.Cost, err = domain.ParseAmount(recorded.CostUSD, domain.AmountPlaces); err != nil {
			return Call{}, fmt.Errorf("cost_usd: %w", err)
		}
	}
	if err := call.share(recorded); err != nil {
		return Call{}, err
	}
	return call, nil
}

var errLessThanAttempts = errors.New("cost_usd: is less than what the attempts have cost")

// share gives each attempt what it consumed and cost. What is left of the call's cost is the answer's.
func (c *Call) share(recorded *usage.Recorded) error {
	rest, unpriced := c.Cost, false
	for i := range recorded.Attempts {
		attempt := &recorded.Attempts[i]
		if !isShare(attempt) {
			continue
		}
		one, err := shareOf(attempt)
		if err != nil {
			return fmt.Errorf("attempt %d: %w", i+1, err)
		}
		one.Priced = attempt.CostUSD != "" || !recorded.Unpriced
		if rest -= one.Cost; rest < 0 {
			return errLessThanAttempts
		}
		unpriced = unpriced || !one.Priced
		c.GivenUp = append(c.GivenUp, one)
		c.Tokens = c.Tokens.Plus(one.Tokens)
	}
	provider, err := optionalID(recorded.ProviderID)
	if err != nil {
		return fmt.Errorf("provider_id: %w", err)
	}
	// Where a given-up attempt is why the call is unpriced, the answer is so only if it lacks a price itself.
	c.Answer = Share{
		Provider: provider, Model: bounded(recorded.Model), Tokens: boundedTokens(recorded.Tokens), Source: recorded.Source, Cost: rest,
		Priced: c.Priced || (unpriced && (c.Price != nil || !consumed(recorded.Tokens))),
	}
	c.Tokens = c.Tokens.Plus(c.Answer.Tokens)
	return nil
}

var errNegative = errors.New("cost_usd: is below zero")

func shareOf(attempt *usage.Attempt) (one Share, err error) {
	one = Share{Model: bounded(attempt.Model), Tokens: boundedTokens(attempt.Tokens), Source: bounded(attempt.Source)}
	if one.Provider, err = optionalID(attempt.ProviderID); err != nil {
		return one, fmt.Errorf("provider_id: %w", err)
	}
	if attempt.CostUSD == "" {
		return one, nil
	}
	if one.Cost, err = domain.ParseAmount(attempt.CostUSD, domain.AmountPlaces); err != nil {
		return one, fmt.Errorf("cost_usd: %w", err)
	}
	if one.Cost < 0 {
		return one, errNegative
	}
	return one, nil
}

// givenUp is a share in the column given_up, whose fields are named as the columns of the row.
type givenUp struct {
	ProviderID       string  `json:"provider_id"`
	Model            string  `json:"model"`
	PromptTokens     int64   `json:"prompt_tokens"`
	CompletionTokens int64   `json:"completion_tokens"`
	CachedTokens     int64   `json:"cached_tokens"`
	CacheWriteTokens int64   `json:"cache_write_tokens"`
	ReasoningTokens  int64   `json:"reasoning_tokens"`
	Source           string  `json:"usage_source"`
	CostUSD          *string `json:"cost_usd"`
}

// GivenUpJSON is the column given_up: empty, which stands for null, where there is nothing.
func (c *Call) GivenUpJSON() string {
	if len(c.GivenUp) == 0 {
		return ""
	}
	list := make([]givenUp, len(c.GivenUp))
	for i := range c.GivenUp {
		one := &c.GivenUp[i]
		list[i] = givenUp{
			ProviderID: idText(one.Provider), Model: one.Model, PromptTokens: one.Tokens.Prompt(), CompletionTokens: one.Tokens.Completion(),
			CachedTokens: one.Tokens.CacheRead, CacheWriteTokens: one.Tokens.CacheWrite, ReasoningTokens: one.Tokens.Reasoning, Source: one.Source,
		}
		if one.Priced {
			list[i].CostUSD = new(one.Cost.String())
		}
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		panic("texts and numbers that are no JSON: " + err.Error())
	}
	return string(encoded)
}

func optionalID(text string) (*uuid.UUID, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // none is not an error
	}
	id, err := uuid.Parse(text)
	return &id, err //nolint:wrapcheck // wrapped by the caller
}

func idText(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

// maxCallTokens bounds a bucket of a call: what a provider claims beyond it is no count, and must not make sums overflow.
const maxCallTokens = 1_000_000_000_000

func boundedTokens(t domain.Tokens) domain.Tokens {
	bound := func(n int64) int64 { return min(max(n, 0), maxCallTokens) }
	return domain.Tokens{
		Input: bound(t.Input), CacheRead: bound(t.CacheRead), CacheWrite: bound(t.CacheWrite),
		Output: bound(t.Output), Reasoning: bound(t.Reasoning),
	}
}

// maxKeyBytes is how long a text may be that PostgreSQL is to index, with room for the other columns of the key.
const maxKeyBytes = 512

// bounded is text that PostgreSQL can store and index: without NUL, and where it is longer than maxKeyBytes, its beginning
// and a digest of all of it, so that different texts stay different. Users and departments are named by others.
func bounded(text string) string {
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	if len(text) <= maxKeyBytes {
		return text
	}
	const digestBytes = 16
	digest := sha256.Sum256([]byte(text))
	end := maxKeyBytes - 2*digestBytes - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…" + hex.EncodeToString(digest[:digestBytes])
}
