package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands for a secret that is set wherever one would be printed.
const redacted = "[redacted]"

// Secret is a value that every way of printing, logging or encoding replaces by "[redacted]", or by nothing when
// it is empty. Only [Secret.Reveal] gives it out.
type Secret string

var (
	_ fmt.Formatter  = Secret("")
	_ slog.LogValuer = Secret("")
)

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// IsSet says whether there is a value.
func (s Secret) IsSet() bool { return s != "" }

// String returns "[redacted]", or "" when s is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}

	return redacted
}

// Format covers the verbs that would bypass String, such as %#v and the mistaken %d.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue keeps the value out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the value out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
