// Package webhook sends signed messages, as Standard Webhooks (standardwebhooks.com) has it: the header webhook-signature holds
// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, once for each secret that counts, separated by spaces.
//
// It calls only where netguard's policy allows, follows no redirect, and bounds the time and what it reads of an answer.
// Nothing of an answer but its status is kept.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/archonhq/archon/internal/netguard"
)

const (
	// timeout bounds one attempt, from the resolution of the name to the end of the answer.
	timeout = 10 * time.Second
	// maxAnswerBytes is how much of an answer is read, so that its connection can be used again; it is thrown away.
	maxAnswerBytes = 64 << 10
)

// Message is what a receiver gets.
type Message struct {
	// URL is the receiver's.
	URL string
	// ID is the same in every attempt, so that a receiver can tell a repetition.
	ID   string
	Body []byte
	// Keys are those of the secrets to sign with.
	Keys [][]byte
}

// ErrGone says that the receiver wants no more messages (410).
var ErrGone = errors.New("the receiver answered 410: it wants no more messages")

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	client    *http.Client
	userAgent string
	now       func() time.Time
}

// NewSender makes a sender that calls where policy allows.
func NewSender(policy netguard.Policy, userAgent string, now func() time.Time) *Sender {
	client := netguard.NewClient(policy, netguard.Options{Timeout: timeout, ResponseHeaderTimeout: timeout})
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Sender{client: client, userAgent: userAgent, now: now}
}

// Send tries once to deliver a message. Anything but 2xx is an error, which is safe to show: it has neither the URL nor
// anything of the answer but its status in it.
func (s *Sender) Send(ctx context.Context, message Message) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, message.URL, bytes.NewReader(message.Body))
	if err != nil {
		return errors.New("the webhook's URL can't be called") //nolint:err113 // its own text quotes the URL
	}
	at := s.now()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", s.userAgent)
	request.Header.Set("Webhook-Id", message.ID)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	request.Header.Set("Webhook-Signature", Sign(message.ID, at, message.Body, message.Keys...))
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("the webhook can't be reached: %s", netguard.Explain(err)) //nolint:err113 // see above
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswerBytes)
	switch {
	case response.StatusCode == http.StatusGone:
		return ErrGone
	case response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("the webhook answered %d; 2xx is expected", response.StatusCode) //nolint:err113 // see above
	}
	return nil
}

// Sign is the value of webhook-signature: a signature by each key.
func Sign(id string, at time.Time, body []byte, keys ...[]byte) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
