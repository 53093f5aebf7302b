package exportcheck

import "hash/maphash"

// maxStreams bounds how many streams' versions are remembered: about 100 MB. With more of them, those that were used last are.
const maxStreams = 1 << 20

// versions follows the version that each stream is at, within maxStreams.
type versions struct {
	// from is true where the export begins at position 1, so that every stream has to begin at version 1.
	from          bool
	seeds         [2]maphash.Seed
	recent, older map[[2]uint64]int64
	// dropped tells whether streams have been forgotten; forgotten counts the events that could not be judged because of it.
	dropped   bool
	forgotten int64
}

func newVersions(fromTheBeginning bool) *versions {
	return &versions{from: fromTheBeginning, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, recent: map[[2]uint64]int64{}}
}

// next takes an event's version; ok is false where it does not follow the stream's last one, want.
func (v *versions) next(stream string, version int64) (want int64, ok bool) {
	// Two hashes: by one of 64 bits, two of a billion streams would be taken for each other once in a while.
	key := [2]uint64{maphash.String(v.seeds[0], stream), maphash.String(v.seeds[1], stream)}
	last, known := v.recent[key]
	if !known {
		last, known = v.older[key]
	}
	v.remember(key, version)
	switch {
	case known:
		return last + 1, version == last+1
	case v.dropped:
		v.forgotten++
		return version, version >= 1
	case v.from:
		return 1, version == 1
	}
	return version, version >= 1
}

func (v *versions) remember(key [2]uint64, version int64) {
	v.recent[key] = version
	if len(v.recent) < maxStreams/2 {
		return
	}
	v.dropped = v.dropped || len(v.older) > 0
	v.recent, v.older = make(map[[2]uint64]int64, maxStreams/2), v.recent
}
