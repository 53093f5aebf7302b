package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrTreeBroken says that the log, or what is stored of its tree, is not what the tree was built of: rows were changed, cut off
// or restored. Nothing can be signed; `archon audit verify` finds what happened.
var ErrTreeBroken = errors.New("the log contradicts the Merkle tree that was built of it")

// growChunk is how many leaves one transaction adds: 4 MB of hashes in memory, and a lock of less than a second.
const growChunk = 1 << 15

// Tree is the Merkle tree over a tenant's event hashes, as RFC 6962 has it: leaf i, from 0, is the event hash at position
// i+1. It stands for the tree of one size and all smaller ones; that the log grows does not change it.
type Tree struct {
	Tenant string
	// Size is how many events the tree is over.
	Size int64

	store *Store
}

// reader reads the stored hashes of the tree.
func (t *Tree) reader(ctx context.Context) tlog.HashReader {
	return tileReader(func(ids []tileID) (map[tileID][]byte, error) { return readTiles(ctx, t.store.pool, t.Tenant, ids) })
}

// Root is the root hash of the tree over the first size events.
func (t *Tree) Root(ctx context.Context, size int64) (tlog.Hash, error) {
	if size < 0 || size > t.Size {
		return tlog.Hash{}, fmt.Errorf("%w: a tree of %d events is not within one of %d", ErrRange, size, t.Size)
	}
	root, err := tlog.TreeHash(size, t.reader(ctx))
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("compute the root of %d events: %w", size, err)
	}
	return root, nil
}

// Inclusion proves that the event at a position is in the tree over the first size events: the hashes beside the path from the
// leaf to the root, the lowest first.
func (t *Tree) Inclusion(ctx context.Context, position, size int64) (tlog.RecordProof, error) {
	if position < 1 || position > size || size > t.Size {
		return nil, fmt.Errorf("%w: position %d is not within %d events", ErrRange, position, size)
	}
	proof, err := tlog.ProveRecord(size, position-1, t.reader(ctx))
	if err != nil {
		return nil, fmt.Errorf("prove the inclusion of position %d: %w", position, err)
	}
	return proof, nil
}

// Consistency proves that the tree over the first from events is a prefix of that over the first to, as RFC 6962, 2.1.2 has it.
func (t *Tree) Consistency(ctx context.Context, from, to int64) (tlog.TreeProof, error) {
	if from < 1 || from > to || to > t.Size {
		return nil, fmt.Errorf("%w: from %d to %d events", ErrRange, from, to)
	}
	if from == to {
		return tlog.TreeProof{}, nil
	}
	proof, err := tlog.ProveTree(to, from, t.reader(ctx))
	if err != nil {
		return nil, fmt.Errorf("prove that %d events begin %d: %w", from, to, err)
	}
	return proof, nil
}

// Subtrees are the roots of the complete subtrees that the first size leaves fall into, the largest, which is the leftmost, first: one
// for each bit that is set in size. Who has them can go on building the tree.
func (t *Tree) Subtrees(ctx context.Context, size int64) ([]tlog.Hash, error) {
	var indexes []int64
	for level, begin := 62, int64(0); level >= 0; level-- {
		if width := int64(1) << level; size&width != 0 {
			indexes = append(indexes, tlog.StoredHashIndex(level, begin>>level))
			begin += width
		}
	}
	if len(indexes) == 0 {
		return nil, nil
	}
	hashes, err := t.reader(ctx).ReadHashes(indexes)
	if err != nil {
		return nil, fmt.Errorf("read the subtrees of %d events: %w", size, err)
	}
	return hashes, nil
}

// GrowTree builds the tenant's tree up to the head, as it is when it is called or later. It fails with ErrTreeBroken where
// the log does not continue what the tree was built of: each new event has to name the hash of the one before it, the first
// new one that of the last leaf. A tenant without events has the empty tree, and nothing is written. Of several calls at once
// one builds and the others wait.
func (s *Store) GrowTree(ctx context.Context, tenant string) (*Tree, error) {
	tree := &Tree{Tenant: tenant, store: s}
	head, err := s.treeAndHead(ctx, tree)
	for err == nil && tree.Size < head.Position {
		err = s.grow(ctx, tree, head.Position)
	}
	if err == nil {
		err = tree.endsWith(ctx, head)
	}
	if err != nil {
		return nil, fmt.Errorf("grow the tree of %s: %w", tenant, err)
	}
	return tree, nil
}

// treeAndHead reads the size, and then the head, which is never before it in an honest log.
func (s *Store) treeAndHead(ctx context.Context, tree *Tree) (Head, error) {
	head := Head{Hash: Genesis(tree.Tenant)}
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tree.Tenant)
	pipeline.Queue(`select coalesce(max(size), 0) from audit_trees where tenant_id = $1`, tree.Tenant).QueryRow(func(row pgx.Row) error {
		return row.Scan(&tree.Size) //nolint:wrapcheck // wrapped below
	})
	queueHead(pipeline, tree.Tenant, &head)
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return Head{}, fmt.Errorf("read the size and the head: %w", Unavailable(err))
	}
	return head, nil
}

// endsWith holds the tree's last leaf against the head, where the head is its end.
func (t *Tree) endsWith(ctx context.Context, head Head) error {
	switch {
	case t.Size < head.Position || t.Size == 0:
		return nil
	case head.Position < t.Size:
		grown, err := t.store.Head(ctx, t.Tenant) // another call may have built further than the head that we know
		if err != nil {
			return err
		}
		if grown.Position < t.Size {
			return fmt.Errorf("%w: it ends at position %d, the tree has %d leaves", ErrTreeBroken, grown.Position, t.Size)
		}
		return nil
	}
	return expectLeaf(t.reader(ctx), t.Size, head.Hash)
}

// expectLeaf holds the leaf at a position against the event hash that should be there.
func expectLeaf(reader tlog.HashReader, position int64, eventHash []byte) error {
	hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, position-1)})
	if err != nil {
		return err //nolint:wrapcheck // says what it did
	}
	if hashes[0] != tlog.RecordHash(eventHash) {
		return fmt.Errorf("%w: position %d has another hash", ErrTreeBroken, position)
	}
	return nil
}

// grow adds at most growChunk leaves, in one transaction, under the tree's lock.
func (s *Store) grow(ctx context.Context, tree *Tree, head int64) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { //nolint:wrapcheck // the caller does
		pipeline := &pgx.Batch{}
		pipeline.Queue(setTenant, tree.Tenant)
		pipeline.Queue(`insert into audit_trees (tenant_id) values ($1) on conflict do nothing`, tree.Tenant)
		pipeline.Queue(`select size from audit_trees where tenant_id = $1 for update`, tree.Tenant).QueryRow(func(row pgx.Row) error {
			return row.Scan(&tree.Size) //nolint:wrapcheck // wrapped below
		})
		if err := tx.SendBatch(ctx, pipeline).Close(); err != nil {
			return fmt.Errorf("lock the tree: %w", Unavailable(err))
		}
		if tree.Size >= head {
			return nil // somebody else was at it
		}
		return s.growLocked(ctx, tx, tree)
	})
}

func (s *Store) growLocked(ctx context.Context, tx pgx.Tx, tree *Tree) error {
	read := func(ids []tileID) (map[tileID][]byte, error) { return readTiles(ctx, tx, tree.Tenant, ids) }
	edge, err := newEdge(tree.Size, read)
	if err != nil {
		return err
	}
	write := &tileBatch{tenant: tree.Tenant, batch: &pgx.Batch{}}
	rows, err := tx.Query(ctx, `select position, prev_hash, hash from events where tenant_id = $1 and position > $2 order by position limit $3`,
		tree.Tenant, tree.Size, growChunk)
	if err != nil {
		return fmt.Errorf("read event hashes: %w", Unavailable(err))
	}
	first, err := addLeaves(rows, tree, edge, write)
	if err != nil {
		return err
	}
	if err := tree.continues(tileReader(read), first); err != nil {
		return err
	}
	edge.partial(write.put)
	write.batch.Queue(`update audit_trees set size = $2 where tenant_id = $1`, tree.Tenant, edge.size)
	if err := tx.SendBatch(ctx, write.batch).Close(); err != nil {
		return fmt.Errorf("write tiles: %w", Unavailable(err))
	}
	tree.Size = edge.size
	return nil
}

// addLeaves adds the rows' hashes to the edge, each of which has to name the one before, and returns what the first one names.
func addLeaves(rows pgx.Rows, tree *Tree, edge *edge, write *tileBatch) (first []byte, err error) {
	defer rows.Close()
	var position int64
	var prev, hash, last []byte
	for rows.Next() {
		if err := rows.Scan(&position, &prev, &hash); err != nil {
			return nil, fmt.Errorf("read an event hash: %w", err)
		}
		switch {
		case position != edge.size+1:
			return nil, fmt.Errorf("%w: position %d is missing", ErrTreeBroken, edge.size+1)
		case len(hash) != HashSize:
			return nil, fmt.Errorf("%w: position %d has no hash", ErrTreeBroken, position)
		case first == nil:
			first = append([]byte{}, prev...)
		case !bytes.Equal(prev, last):
			return nil, fmt.Errorf("%w: position %d does not name the hash of position %d", ErrTreeBroken, position, position-1)
		}
		edge.add(hash, write.put)
		last = append(last[:0], hash...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read event hashes: %w", Unavailable(err))
	}
	if first == nil {
		return nil, fmt.Errorf("%w: position %d is missing", ErrTreeBroken, tree.Size+1)
	}
	return first, nil
}

// continues holds the hash that the first new event names against the last leaf.
func (t *Tree) continues(reader tlog.HashReader, prevHash []byte) error {
	if t.Size > 0 {
		return expectLeaf(reader, t.Size, prevHash)
	}
	if !bytes.Equal(prevHash, Genesis(t.Tenant)) {
		return fmt.Errorf("%w: position 1 does not begin at the genesis", ErrTreeBroken)
	}
	return nil
}
