package eventstore

// Preimage is what Hash hashes, for tests.
func Preimage(event *Recorded) []byte {
	_, buffer := hashInto(nil, event)
	return buffer
}

// PieceRows is how many positions one piece of a verification has.
const PieceRows = pieceRows
