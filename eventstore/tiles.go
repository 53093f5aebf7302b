package eventstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// Tiles hold tileWidth hashes of every tileHeight-th level of the tree. 8 KiB a tile: a proof in a tree of 16 million leaves
// needs three, and the tree takes 0.4 % more room than the leaves.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tileID names a tile of a tenant's tree.
type tileID struct {
	level int
	index int64
}

// edge is the right-hand edge of a tree: the last tile of every level, which new leaves go into. It holds a tile a level
// whatever the size, and gives the full ones away.
type edge struct {
	size  int64
	tiles [][]byte
}

// newEdge makes the edge of a tree of size leaves from its tiles.
func newEdge(size int64, read func([]tileID) (map[tileID][]byte, error)) (*edge, error) {
	e := &edge{size: size}
	ids := []tileID{}
	for level, hashes := 0, size; hashes > 0; level, hashes = level+1, hashes/tileWidth {
		ids = append(ids, tileID{level, hashes / tileWidth})
	}
	found, err := read(ids)
	if err != nil {
		return nil, err
	}
	for level, hashes := 0, size; hashes > 0; level, hashes = level+1, hashes/tileWidth {
		width := int(hashes % tileWidth * tlog.HashSize)
		tile := found[tileID{level, hashes / tileWidth}]
		if len(tile) < width {
			return nil, fmt.Errorf("%w: tile %d of level %d is too short", ErrTreeBroken, hashes/tileWidth, level)
		}
		e.tiles = append(e.tiles, append(make([]byte, 0, tileWidth*tlog.HashSize), tile[:width]...))
	}
	return e, nil
}

// add appends an event hash as a leaf, and tells full of every tile that it completes; full must not keep the bytes.
func (e *edge) add(eventHash []byte, full func(tileID, []byte)) {
	hash := tlog.RecordHash(eventHash)
	below := e.size // hashes of the level that stand before this one
	e.size++
	for level := 0; ; level++ {
		if level == len(e.tiles) {
			e.tiles = append(e.tiles, make([]byte, 0, tileWidth*tlog.HashSize))
		}
		e.tiles[level] = append(e.tiles[level], hash[:]...)
		if len(e.tiles[level]) < tileWidth*tlog.HashSize {
			return
		}
		full(tileID{level, below / tileWidth}, e.tiles[level])
		hash = tileRoot(e.tiles[level])
		e.tiles[level] = e.tiles[level][:0]
		below /= tileWidth
	}
}

// partial yields the tiles that are not full.
func (e *edge) partial(each func(tileID, []byte)) {
	hashes := e.size
	for level := range e.tiles {
		if len(e.tiles[level]) > 0 {
			each(tileID{level, hashes / tileWidth}, e.tiles[level])
		}
		hashes /= tileWidth
	}
}

// tileRoot is the hash above a full tile.
func tileRoot(tile []byte) tlog.Hash {
	row := make([]tlog.Hash, 0, tileWidth)
	for ; len(tile) > 0; tile = tile[tlog.HashSize:] {
		row = append(row, tlog.Hash(tile))
	}
	for ; len(row) > 1; row = row[:len(row)/2] {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}

// tileReader reads a tree's hashes from its tiles.
type tileReader func([]tileID) (map[tileID][]byte, error)

// ReadHashes implements tlog.HashReader, with one read of tiles.
func (read tileReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	tiles := make([]tlog.Tile, len(indexes))
	var ids []tileID
	wanted := map[tileID]bool{}
	for i, index := range indexes {
		tiles[i] = tlog.TileForIndex(tileHeight, index)
		id := tileID{tiles[i].L, tiles[i].N}
		if !wanted[id] {
			wanted[id] = true
			ids = append(ids, id)
		}
	}
	found, err := read(ids)
	if err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		data := found[tileID{tiles[i].L, tiles[i].N}]
		if len(data) < tiles[i].W*tlog.HashSize {
			return nil, fmt.Errorf("%w: tile %d of level %d is missing or too short", ErrTreeBroken, tiles[i].N, tiles[i].L)
		}
		if hashes[i], err = tlog.HashFromTile(tiles[i], data, index); err != nil {
			return nil, fmt.Errorf("read hash %d of the tree: %w", index, err)
		}
	}
	return hashes, nil
}

// tileBatch collects statements that write tiles.
type tileBatch struct {
	tenant string
	batch  *pgx.Batch
}

// put writes a tile, unless a wider one is there already.
func (t *tileBatch) put(id tileID, hashes []byte) {
	t.batch.Queue(`insert into audit_tiles as t (tenant_id, level, index, hashes) values ($1, $2, $3, $4)
		on conflict (tenant_id, level, index) do update set hashes = excluded.hashes
		where octet_length(t.hashes) < octet_length(excluded.hashes)`, t.tenant, id.level, id.index, append([]byte(nil), hashes...))
}

// querier is a pool or a transaction.
type querier interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// readTiles reads tiles in one round trip; what is not there is missing in the result.
func readTiles(ctx context.Context, on querier, tenant string, ids []tileID) (map[tileID][]byte, error) {
	found := make(map[tileID][]byte, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	levels, indexes := make([]int16, len(ids)), make([]int64, len(ids))
	for i, id := range ids {
		levels[i], indexes[i] = int16(id.level), id.index //nolint:gosec // 64 levels at most
	}
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select t.level, t.index, t.hashes from unnest($2::smallint[], $3::bigint[]) as w (level, index)
		join audit_tiles t on t.tenant_id = $1 and t.level = w.level and t.index = w.index`, tenant, levels, indexes).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var id tileID
			var hashes []byte
			if err := rows.Scan(&id.level, &id.index, &hashes); err != nil {
				return err //nolint:wrapcheck // wrapped below
			}
			found[id] = hashes
		}
		return rows.Err() //nolint:wrapcheck // wrapped below
	})
	if err := on.SendBatch(ctx, pipeline).Close(); err != nil {
		return nil, fmt.Errorf("read tiles: %w", Unavailable(err))
	}
	return found, nil
}
