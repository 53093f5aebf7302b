package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxUserAgentBytes is how much of a user agent is kept; it is the client's text and may be of any length.
const maxUserAgentBytes = 1024

// Client is where a request came from. It is personal data.
type Client struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

// SealClient seals where a subject's request came from. A user agent over 1 KiB is cut, bytes that are not UTF-8 are
// replaced. Errors are those of [Keeper.Seal].
func (k *Keeper) SealClient(ctx context.Context, tenant, subject string, client Client) (Envelope, error) {
	client.UserAgent = cut(strings.ToValidUTF8(client.UserAgent, "\uFFFD"), maxUserAgentBytes)

	plaintext, err := json.Marshal(client)
	if err != nil {
		return Envelope{}, fmt.Errorf("seal client: %w", err)
	}

	return k.Seal(ctx, tenant, subject, plaintext)
}

// OpenClient opens what [Keeper.SealClient] sealed. Errors are those of [Keeper.Open], and [ErrMalformed] where the
// envelope holds something else.
func (k *Keeper) OpenClient(ctx context.Context, tenant string, envelope Envelope) (Client, error) {
	plaintext, err := k.Open(ctx, tenant, envelope)
	if err != nil {
		return Client{}, err
	}

	var client Client
	if err := json.Unmarshal(plaintext, &client); err != nil { // which may quote the plaintext
		return Client{}, fmt.Errorf("open client: %w: it holds something else", ErrMalformed)
	}

	return client, nil
}

// cut shortens text to at most limit bytes, between characters.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}

	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}

	return text[:limit]
}
