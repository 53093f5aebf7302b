package eventstore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// memoryTiles is what audit_tiles would hold.
type memoryTiles map[tileID][]byte

func (m memoryTiles) put(id tileID, hashes []byte) {
	if len(hashes) > len(m[id]) {
		m[id] = bytes.Clone(hashes)
	}
}

func (m memoryTiles) read([]tileID) (map[tileID][]byte, error) { return m, nil }

// grown adds leaves from..to-1 to tiles that hold from.
func (m memoryTiles) grow(t *testing.T, from, to int64, leaf func(int64) []byte) {
	t.Helper()
	e, err := newEdge(from, m.read)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		e.add(leaf(i), m.put)
	}
	e.partial(m.put)
	if e.size != to {
		t.Fatalf("size %d, want %d", e.size, to)
	}
}

func numbered(i int64) []byte { return fmt.Appendf(nil, "leaf %d", i) }

// The published vectors of RFC 6962's tree, from the reference implementation of Certificate Transparency.
func TestTreeHasThePublishedRoots(t *testing.T) {
	t.Parallel()
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	leaf := func(i int64) []byte {
		t.Helper()
		raw, err := hex.DecodeString(leaves[i])
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	tiles := memoryTiles{}
	for size, want := range roots {
		if size > 0 {
			tiles.grow(t, int64(size)-1, int64(size), leaf)
		}
		got, err := tlog.TreeHash(int64(size), tileReader(tiles.read))
		if err != nil || hex.EncodeToString(got[:]) != want {
			t.Errorf("the root of %d leaves is %x, published is %s: %v", size, got, want, err)
		}
	}
	var range8 Range
	for i := range leaves {
		range8.Add(leaf(int64(i)))
		if got := range8.Root(); hex.EncodeToString(got[:]) != roots[i+1] {
			t.Errorf("streamed, the root of %d leaves is %x", i+1, got)
		}
	}
}

// However the leaves come, in steps over the borders of tiles, the tiles hold what the Go checksum database's own code makes of them.
func TestTilesHoldTheTree(t *testing.T) {
	t.Parallel()
	const size = 66_000 // a full tile of level 1, and some more of each level
	stored := make([]tlog.Hash, 0, 2*size)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for i := range int64(size) {
		hashes, err := tlog.StoredHashes(i, numbered(i), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	tiles, at := memoryTiles{}, int64(0)
	for _, to := range []int64{1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, size} {
		tiles.grow(t, at, to, numbered)
		at = to
		want, err := tlog.TreeHash(to, reader)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tlog.TreeHash(to, tileReader(tiles.read))
		if err != nil || got != want {
			t.Errorf("the root of %d leaves is %v, want %v: %v", to, got, want, err)
		}
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		want, err := tlog.ReadTileData(tile, reader)
		if err != nil || !bytes.Equal(tiles[tileID{tile.L, tile.N}], want) {
			t.Errorf("tile %d of level %d differs: %v", tile.N, tile.L, err)
		}
	}
	inTiles := tileReader(tiles.read)
	root, err := tlog.TreeHash(size, inTiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range []int64{0, 1, 255, 256, 65_535, 65_536, size - 1} {
		proof, err := tlog.ProveRecord(size, leaf, inTiles)
		if err != nil || tlog.CheckRecord(proof, size, root, leaf, tlog.RecordHash(numbered(leaf))) != nil {
			t.Errorf("leaf %d is not proven: %v", leaf, err)
		}
	}
}

// A tile that lost its end, or is gone, is noticed, not read as zeroes.
func TestTilesThatAreTooShort(t *testing.T) {
	t.Parallel()
	tiles := memoryTiles{}
	tiles.grow(t, 0, 300, numbered)
	short := memoryTiles{{0, 0}: tiles[tileID{0, 0}], {0, 1}: tiles[tileID{0, 1}][:32], {1, 0}: tiles[tileID{1, 0}]}
	if _, err := newEdge(300, short.read); !errors.Is(err, ErrTreeBroken) {
		t.Errorf("an edge of a short tile: %v", err)
	}
	if _, err := tlog.TreeHash(300, tileReader(short.read)); !errors.Is(err, ErrTreeBroken) {
		t.Errorf("a root of a short tile: %v", err)
	}
	delete(short, tileID{1, 0})
	if _, err := newEdge(300, short.read); !errors.Is(err, ErrTreeBroken) {
		t.Errorf("an edge without a tile: %v", err)
	}
}

func TestCheckpointBody(t *testing.T) {
	t.Parallel()
	checkpoint := Checkpoint{Origin: Origin("eu/1", "acme", 2), Size: 7, Root: tlog.RecordHash([]byte("x"))}
	body := checkpoint.Body()
	got, err := ParseCheckpoint(body)
	if err != nil || got != checkpoint || TenantOf(got.Origin) != "acme" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseCheckpoint(body + "an extension\n"); err != nil || got != checkpoint {
		t.Errorf("with an extension: %+v, %v", got, err)
	}
	for _, bad := range []string{"", "a\n", "a\n1\n", "\n1\n" + body[len(body)-45:], "a\n01\n" + body[len(body)-45:], "a\n-1\n" + body[len(body)-45:], "a\n1\nAAAA\n", body[:len(body)-1]} {
		if _, err := ParseCheckpoint(bad); err == nil {
			t.Errorf("%q was taken for a checkpoint", bad)
		}
	}
	for _, foreign := range []string{"", "acme", "x/acme"} {
		if got := TenantOf(foreign); got != "" {
			t.Errorf("%q names tenant %q", foreign, got)
		}
	}
}
