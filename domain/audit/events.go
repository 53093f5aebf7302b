// Package audit is the context of the audit trail itself: what was asked of Archon and did not happen (refused writes), so that the log
// is a trail of failures as well as of successes, and what became of the log (a restored backup).
package audit

import (
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// WriteRefused says that an authenticated caller's write was refused. Who, from where, by which route and with which
// status is in the event's meta.
type WriteRefused struct {
	// ResourceType and ResourceID name what the write was about, where the route says so.
	ResourceType string `json:"resource_type,omitempty"`
	ResourceID   string `json:"resource_id,omitempty"`
	// Code and Message are those of the answer. Neither holds a value that the client sent.
	Code    string `json:"code"`
	Message string `json:"message"`
	// Details says which fields were wrong and why, never with what value.
	Details map[string]any `json:"details,omitempty"`
	// Suppressed counts refusals that were not recorded before this one because there were too many.
	Suppressed int64 `json:"suppressed,omitempty"`
}

// EventType implements domain.Event.
func (WriteRefused) EventType() string { return "audit.write_refused.v1" }

// Incarnated says that an operator has declared a restored backup: what was signed after the surviving checkpoint is not in this log,
// and from here on the log is signed as another incarnation.
type Incarnated struct {
	// Incarnation is the new one's number.
	Incarnation int `json:"incarnation"`
	// Surviving is the last checkpoint that this log still is the continuation of; absent where none is known.
	Surviving *Checkpoint `json:"surviving,omitempty"`
	// Lost is what had been signed last, which this log is not the continuation of.
	Lost Checkpoint `json:"lost"`
	// Reason is what the operator said.
	Reason string `json:"reason"`
}

// Checkpoint is a size of the log and the root, in hex, of the tree over that many events.
type Checkpoint struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
	Root   string `json:"root"`
}

// EventType implements domain.Event.
func (Incarnated) EventType() string { return "audit.incarnated.v1" }

// RootsRecorded says how long the logs of all tenants are, and what is in them, at one moment: silence, a cut log and a dropped tenant
// would look alike otherwise. It is recorded once an hour in the log of RootsTenant, which is signed like any other. With many
// tenants a record is several events, with the same time.
type RootsRecorded struct {
	At   time.Time `json:"at"`
	Logs []LogRoot `json:"logs"`
	// Missing are tenants of the record before that have no log any more.
	Missing []string `json:"missing,omitempty"`
}

// LogRoot is the state of a tenant's log. Size and Root are absent where the log contradicts its own tree.
type LogRoot struct {
	Tenant string `json:"tenant"`
	Size   int64  `json:"size,omitempty"`
	Root   string `json:"root,omitempty"`
}

// EventType implements domain.Event.
func (RootsRecorded) EventType() string { return "audit.roots_recorded.v1" }

// RootsTenant is whose log RootsRecorded stands in. It begins with a sign that no tenant's id may have, so that no token reaches it.
const RootsTenant = "_archon"

// Anchored is the receipt of a signed checkpoint that was put where the database's owner can't rewrite it.
type Anchored struct {
	Checkpoint Checkpoint `json:"checkpoint"`
	// Anchors are the places that have it, and what each of them answered.
	Anchors []Anchor `json:"anchors"`
}

// Anchor is a place that checkpoints are put.
type Anchor struct {
	// Name is "directory", or the host of an endpoint.
	Name string `json:"name"`
	// Receipt is what it answered, as text, cut off at 1 KiB: the signature of a witness, say.
	Receipt string `json:"receipt,omitempty"`
}

// EventType implements domain.Event.
func (Anchored) EventType() string { return "audit.anchored.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event {
	return []domain.Event{WriteRefused{}, Incarnated{}, RootsRecorded{}, Anchored{}}
}

// nameSpace is the UUID namespace of refusal streams; it must never change.
var nameSpace = uuid.MustParse("0c0b1f2e-52a4-5d0e-8f6b-64d1f3a7c2b8")

// Stream is the stream of a tenant's refusals, and of what became of its log.
func Stream(tenant string) string {
	return "audit-" + uuid.NewSHA1(nameSpace, []byte(tenant)).String()
}
