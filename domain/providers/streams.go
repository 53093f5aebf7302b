package providers

import "github.com/google/uuid"

// Prefixes of this context's streams.
const (
	StreamPrefix       = "provider-"
	NameStreamPrefix   = "providername-"
	HealthStreamPrefix = "providerhealth-"
)

// nameSpace is the UUID namespace in which provider names become stream ids; it must never change.
var nameSpace = uuid.MustParse("6f1d5c3e-7a55-5f0b-9c43-2b1f6d6f9a10")

// Stream is the stream of a provider's configuration.
func Stream(id string) string { return StreamPrefix + id }

// NameStream is the stream that makes a name unique: whoever claims the name writes to it, so two cannot.
func NameStream(name string) string {
	return NameStreamPrefix + uuid.NewSHA1(nameSpace, []byte(name)).String()
}

// HealthStream is the stream of a provider's telemetry.
func HealthStream(id string) string { return HealthStreamPrefix + id }
