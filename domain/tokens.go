package domain

// Tokens counts the tokens of a call in disjoint buckets: each token is in one of them, so that prices are applied and
// sums are made without knowing how a provider counts.
type Tokens struct {
	// Input were read anew: neither from a cache nor written to one.
	Input int64 `json:"input"`
	// CacheRead were read from the provider's prompt cache, CacheWrite written to it.
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	// Output is text (or tool calls), Reasoning what the model thought and did not show; both are billed as output.
	Output    int64 `json:"output"`
	Reasoning int64 `json:"reasoning"`
}

// Prompt is everything that went in.
func (t Tokens) Prompt() int64 { return t.Input + t.CacheRead + t.CacheWrite }

// Completion is everything that came out.
func (t Tokens) Completion() int64 { return t.Output + t.Reasoning }

// Total is all of them.
func (t Tokens) Total() int64 { return t.Prompt() + t.Completion() }

// Plus is the sum of both, bucket by bucket.
func (t Tokens) Plus(other Tokens) Tokens {
	return Tokens{
		Input: t.Input + other.Input, CacheRead: t.CacheRead + other.CacheRead, CacheWrite: t.CacheWrite + other.CacheWrite,
		Output: t.Output + other.Output, Reasoning: t.Reasoning + other.Reasoning,
	}
}
