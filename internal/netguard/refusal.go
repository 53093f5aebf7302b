package netguard

import "errors"

// ErrRefused matches every [Refusal] with errors.Is.
var ErrRefused = errors.New("refused by the network policy")

// Refusal says why a URL, host or address is not allowed. Correct the URL or
// widen the policy; trying again does not help.
type Refusal struct {
	// Reason is a phrase that may be shown to a user. It never holds any part
	// of the URL, host or address: what a name resolved to is not the user's
	// to know, and a URL may hold a password.
	Reason string
}

// Error returns the reason.
func (r *Refusal) Error() string { return r.Reason }

// Is makes every Refusal match [ErrRefused].
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

func refuse(reason string) error { return &Refusal{Reason: reason} }
