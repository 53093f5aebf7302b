package eventstore

import "context"

// Preimage is what Hash hashes, for tests.
func Preimage(event *Recorded) []byte {
	_, buffer := hashInto(nil, event)
	return buffer
}

// PieceRows is how many positions one piece of a verification has.
const PieceRows = pieceRows

// VerifyShares is VerifyParallel with ranges of at least so many rows.
func (s *Store) VerifyShares(ctx context.Context, tenant string, parallel int, least int64, progress func(int64)) (Report, error) {
	return s.verifyShares(ctx, tenant, parallel, least, progress)
}
