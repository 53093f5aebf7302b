package readapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

// page is one page of a list as it was asked for and, once it has been read, where it goes on.
type page struct {
	list  string
	limit int
	next  string
}

// newestFirst is where a page of a list by age ended.
type newestFirst struct {
	CreatedAt time.Time `json:"c"`
	ID        uuid.UUID `json:"i"`
}

// pageOf reads limit and cursor of a list; key gets the cursor's key and is left as it is on the first page.
func pageOf(list string, limit *int, cursor *string, key any) (page, error) {
	if _, err := httpx.DecodeCursor(cursor, list, key); err != nil {
		return page{}, err //nolint:wrapcheck // an httpx.Error is the answer
	}
	return page{list: list, limit: httpx.Limit(limit)}, nil
}

// cut leaves what fits of the rows that were read, which are one more where there is a page behind this one; that goes on
// after the last one's key.
func cut[T any](p *page, rows []T, key func(last T) any) ([]T, error) {
	if len(rows) <= p.limit {
		return rows, nil
	}
	rows = rows[:p.limit]
	return rows, p.continueAfter(key(rows[len(rows)-1]))
}

// continueAfter names the last entry of a page that is not the last one.
func (p *page) continueAfter(key any) error {
	next, err := httpx.EncodeCursor(p.list, key)
	p.next = next
	return err //nolint:wrapcheck // says what it did
}

func (p *page) meta(ctx context.Context) api.ListMeta {
	return httpx.ListMeta(ctx, p.limit, p.next, nil)
}
