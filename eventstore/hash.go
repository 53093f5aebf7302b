package eventstore

import (
	"crypto/sha256"
	"encoding/binary"
)

// HashSize is the length of a hash in bytes.
const HashSize = sha256.Size

// Domain separators of version 1 of the hash, each closed by a zero byte.
const (
	genesisPrefix = "archon.genesis.v1\x00"
	eventPrefix   = "archon.event.v1\x00"
)

// Genesis is the prev_hash of position 1 of a tenant's chain: SHA-256("archon.genesis.v1" 0x00 tenant_id).
func Genesis(tenant string) []byte {
	sum := sha256.Sum256([]byte(genesisPrefix + tenant))
	return sum[:]
}

// Hash is version 1 of an event's hash. With frame(x) a 4-byte big-endian length and then the bytes, and integers as 8
// bytes big-endian:
//
//	SHA-256("archon.event.v1" 0x00 frame(tenant_id) int(position) frame(stream) int(version) frame(event_id, 16 bytes)
//	        frame(type) int(occurred_at) frame(command_id, 16 bytes) frame(meta) frame(data) prev_hash)
//
// occurred_at is microseconds since 1970 UTC. The event's own Hash field is not read.
func Hash(event *Recorded) [HashSize]byte {
	sum, _ := hashInto(nil, event)
	return sum
}

// hashInto is Hash with a buffer that a caller who hashes many events hands back in.
func hashInto(buffer []byte, event *Recorded) ([HashSize]byte, []byte) {
	buffer = append(buffer[:0], eventPrefix...)
	buffer = appendFrame(buffer, event.Tenant)
	buffer = appendInt(buffer, event.Position)
	buffer = appendFrame(buffer, event.Stream)
	buffer = appendInt(buffer, event.Version)
	buffer = appendFrame(buffer, event.EventID[:])
	buffer = appendFrame(buffer, event.Type)
	buffer = appendInt(buffer, event.OccurredAt)
	buffer = appendFrame(buffer, event.CommandID[:])
	buffer = appendFrame(buffer, event.Meta)
	buffer = appendFrame(buffer, event.Data)
	buffer = append(buffer, event.PrevHash...)
	return sha256.Sum256(buffer), buffer
}

func appendFrame[T string | []byte](buffer []byte, field T) []byte {
	buffer = binary.BigEndian.AppendUint32(buffer, uint32(len(field))) //nolint:gosec // MaxEventBytes is far below 4 GiB
	return append(buffer, field...)
}

func appendInt(buffer []byte, value int64) []byte {
	return binary.BigEndian.AppendUint64(buffer, uint64(value)) //nolint:gosec // two's complement is the format
}
