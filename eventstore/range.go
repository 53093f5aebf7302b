package eventstore

import "golang.org/x/mod/sumdb/tlog"

// Range builds the root of a growing tree from a stream of leaves, in memory that grows with the logarithm of their number: it keeps the
// roots of the complete subtrees that the leaves fall into. The zero value is the empty tree.
type Range struct {
	size  int64
	roots []tlog.Hash // the largest subtree, which is the leftmost, first
}

// NewRange goes on after the first size leaves, whose complete subtrees are given, the largest first; ok is false where their
// number is not that of size.
func NewRange(size int64, subtrees []tlog.Hash) (r *Range, ok bool) {
	count := 0
	for rest := size; rest > 0; rest &= rest - 1 {
		count++
	}
	return &Range{size: size, roots: append([]tlog.Hash(nil), subtrees...)}, size >= 0 && count == len(subtrees)
}

// Size is the number of leaves.
func (r *Range) Size() int64 { return r.size }

// Add appends an event hash as a leaf.
func (r *Range) Add(eventHash []byte) {
	r.roots = append(r.roots, tlog.RecordHash(eventHash))
	for done := r.size; done&1 == 1; done >>= 1 { // each set bit is a subtree that the new one completes
		last := len(r.roots) - 1
		r.roots[last-1] = tlog.NodeHash(r.roots[last-1], r.roots[last])
		r.roots = r.roots[:last]
	}
	r.size++
}

// Root is the root hash of the tree as it is.
func (r *Range) Root() tlog.Hash {
	if r.size == 0 {
		root, _ := tlog.TreeHash(0, nil) // the hash of nothing, which needs no reader
		return root
	}
	root := r.roots[len(r.roots)-1]
	for i := len(r.roots) - 2; i >= 0; i-- {
		root = tlog.NodeHash(r.roots[i], root)
	}
	return root
}
