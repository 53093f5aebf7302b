package domain

import "encoding/json"

// Meta is what every event carries besides its data: who did what, through which request. It is the JSON of the meta
// column and part of the hash.
type Meta struct {
	Actor Actor `json:"actor"`
	// Method and Path (the route's template, never the path as sent) name the request; empty where none caused the event.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Status is the answer's status code: the route's declared one for a success.
	Status int `json:"status,omitempty"`
	// CorrelationID is shared by everything that one request causes; CausationID is the event or job that caused this.
	CorrelationID string   `json:"correlation_id,omitempty"`
	CausationID   string   `json:"causation_id,omitempty"`
	Roles         []string `json:"roles,omitempty"`
	// Client is a privacy envelope around the caller's IP address and user agent: personal data is never in the clear.
	Client json.RawMessage `json:"client,omitempty"`
}

// Actor is who acts.
type Actor struct {
	// ID is the token's subject, or the name of a part of Archon.
	ID   string    `json:"id"`
	Type ActorType `json:"type"`
}

// ActorType tells people from programs from Archon itself.
type ActorType string

// The types of actor.
const (
	User    ActorType = "user"
	Service ActorType = "service"
	System  ActorType = "system"
)
