package readapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("keys", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	list := func(ctx context.Context, of string, limit int, cursor *string) (api.ListKeys200JSONResponse, error) {
		response, err := f.keys.ListKeys(as(ctx, of), api.ListKeysRequestObject{Params: api.ListKeysParams{Limit: &limit, Cursor: cursor}})
		page, _ := response.(api.ListKeys200JSONResponse)
		return page, err //nolint:wrapcheck // a test
	}
	get := func(ctx context.Context, of, id string) (api.GetKey200JSONResponse, error) {
		response, err := f.keys.GetKey(as(ctx, of), api.GetKeyRequestObject{ID: id})
		found, _ := response.(api.GetKey200JSONResponse)
		return found, err //nolint:wrapcheck // a test
	}
	create := func(ctx context.Context, of string, config keys.Config) string {
		GinkgoHelper()
		id := uuid.Must(uuid.NewV7()).String()
		f.append(ctx, of, keys.Stream(id), did("POST", "/api/v1/keys", 201), keys.Created{
			KeyID: id, Config: config, SecretHash: keys.Hash("secret of " + id), Hint: "x7Qk", CreatedBy: "ada",
		})
		return id
	}

	It("are shown with everything but their secrets and hashes", func(ctx context.Context) {
		until := f.now.Add(time.Hour).Truncate(time.Microsecond)
		id := create(ctx, tenant, keys.Config{
			Name: "CI", DepartmentID: new("research"), Models: []string{"gpt-4o", "claude-*"}, RateLimitRPM: new(int64(60)),
			BudgetNanoUSD: new(int64(12_500_001_000)), ExpiresAt: &until,
		})
		f.project(ctx, tenant)
		found, err := get(ctx, tenant, id)
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Headers.ETag).To(HaveValue(Equal(httpx.ETag(1))))
		key := found.Body.Data
		Expect(key.CreatedAt).To(BeTemporally("~", time.Now(), time.Minute))
		key.CreatedAt = time.Time{}
		want := api.Key{
			ID: id, Name: "CI", DepartmentID: new("research"), Models: []string{"gpt-4o", "claude-*"}, RateLimitRPM: new(int64(60)),
			BudgetUsd: new(json.Number("12.500001")), ExpiresAt: &until, Status: api.KeyStatusActive, Hint: "x7Qk", CreatedBy: "ada", Version: 1,
		}
		Expect(key).To(Equal(want))

		By("its end, and its revocation")
		f.now = until
		found, err = get(ctx, tenant, id)
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Body.Data.Status).To(Equal(api.KeyStatusExpired))
		f.append(ctx, tenant, keys.Stream(id), did("DELETE", "/api/v1/keys/{id}", 204), keys.Revoked{KeyID: id})
		f.project(ctx, tenant)
		found, err = get(ctx, tenant, id)
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Body.Data.Status).To(Equal(api.KeyStatusRevoked))
		Expect(found.Body.Data.RevokedAt).To(HaveValue(BeTemporally("~", time.Now(), time.Minute)))
		Expect(found.Headers.ETag).To(HaveValue(Equal(httpx.ETag(2))))
	})

	It("list newest first, page by page, each once, while others come", func(ctx context.Context) {
		var want []string
		for i := range 7 {
			want = append([]string{create(ctx, tenant, keys.Config{Name: fmt.Sprint(i), Models: []string{}})}, want...)
		}
		create(ctx, other, keys.Config{Name: "not ours", Models: []string{}})
		f.project(ctx, tenant)
		f.project(ctx, other)
		for limit := 1; limit <= 8; limit++ {
			var seen []string
			var cursor *string
			for more := true; more; more = cursor != nil {
				page, err := list(ctx, tenant, limit, cursor)
				Expect(err).NotTo(HaveOccurred())
				Expect(len(page.Data)).To(BeNumerically("<=", limit))
				Expect(len(seen)).To(BeNumerically("<=", len(want)), "the list has no end")
				for _, key := range page.Data {
					seen = append(seen, key.ID)
				}
				if cursor = page.Meta.Pagination.NextCursor; cursor != nil && limit == 3 && len(seen) == 3 {
					create(ctx, tenant, keys.Config{Name: "comes meanwhile", Models: []string{}})
					f.project(ctx, tenant)
				}
			}
			if limit > 3 {
				Expect(seen[0]).NotTo(Equal(want[0]), "the one that came meanwhile")
				seen = seen[1:]
			}
			Expect(seen).To(Equal(want), "limit %d", limit)
		}
	})

	It("do not know what is not there, is no id, or is another's", func(ctx context.Context) {
		foreign := create(ctx, other, keys.Config{Name: "Foreign", Models: []string{}})
		f.project(ctx, other)
		for _, id := range []string{uuid.NewString(), foreign, "1; drop table", ""} {
			_, err := get(ctx, tenant, id)
			Expect(err).To(MatchError(keys.ErrNotFound), id)
		}
		page, err := list(ctx, tenant, 10, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Data).To(BeEmpty())
	})

	It("refuse a cursor that another list gave out", func(ctx context.Context) {
		foreign, err := httpx.EncodeCursor("providers", map[string]int{"b": 1})
		Expect(err).NotTo(HaveOccurred())
		for _, cursor := range []string{foreign, "nonsense"} {
			_, err = list(ctx, tenant, 10, &cursor)
			Expect(err).To(MatchError(ContainSubstring("cursor")))
		}
	})
})
