package readapi_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/readapi"
)

var _ = Describe("providers", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	list := func(ctx context.Context, of string, params api.ListProvidersParams) (api.ListProviders200JSONResponse, error) {
		response, err := f.providers.ListProviders(as(ctx, of), api.ListProvidersRequestObject{Params: params})
		page, _ := response.(api.ListProviders200JSONResponse)
		return page, err //nolint:wrapcheck // a test
	}
	get := func(ctx context.Context, of, id string, at *time.Time) (api.GetProvider200JSONResponse, error) {
		response, err := f.providers.GetProvider(as(ctx, of), api.GetProviderRequestObject{ID: id, Params: api.GetProviderParams{AsOf: at}})
		found, _ := response.(api.GetProvider200JSONResponse)
		return found, err //nolint:wrapcheck // a test
	}
	names := func(list []api.Provider) []string {
		all := []string{}
		for _, one := range list {
			all = append(all, one.Name)
		}
		return all
	}
	walk := func(ctx context.Context, limit int, at *time.Time) []string {
		GinkgoHelper()
		all := []string{}
		var cursor *string
		for {
			page, err := list(ctx, tenant, api.ListProvidersParams{Limit: &limit, Cursor: cursor, AsOf: at})
			Expect(err).NotTo(HaveOccurred())
			Expect(len(page.Data)).To(BeNumerically("<=", limit))
			Expect(page.Meta.Pagination.Limit).To(Equal(limit))
			all = append(all, names(page.Data)...)
			if cursor = page.Meta.Pagination.NextCursor; cursor == nil {
				return all
			}
		}
	}

	It("shows a provider with everything but its secrets", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Main")
		f.project(ctx, tenant)
		found, err := get(ctx, tenant, id, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Headers.ETag).To(HaveValue(Equal(httpx.ETag(1))))
		provider := found.Body.Data
		Expect(provider.CreatedAt).To(BeTemporally("~", time.Now(), time.Minute))
		provider.CreatedAt = time.Time{}
		Expect(provider).To(Equal(api.Provider{
			ID: id, Name: "Main", Type: "openai", BaseURL: "https://api.openai.com", IsEnabled: true, HealthStatus: "unknown",
			SupportedModels: []string{"gpt-4o"}, Capabilities: []api.Capability{"vision"}, CustomHeaders: []string{"X-Team"},
			RateLimitRPM: new(int64(60)), VaultPath: "secret/tenants/acme/providers/" + id, Version: 1,
		}))
		current, err := f.providers.Current(ctx, tenant, id)
		Expect(err).NotTo(HaveOccurred())
		Expect(current.ID).To(Equal(id))
	})

	It("lists by name, page by page, each once", func(ctx context.Context) {
		Expect(walk(ctx, 3, nil)).To(BeEmpty())
		for _, name := range []string{"b", "Z", "ä", "a b", "c", "a", "A"} {
			f.register(ctx, tenant, name)
		}
		f.register(ctx, other, "not ours")
		f.project(ctx, tenant)
		f.project(ctx, other)
		sorted := []string{"A", "Z", "a", "a b", "b", "c", "ä"}
		now := time.Now().Add(time.Minute)
		for limit := 1; limit <= 8; limit++ {
			Expect(walk(ctx, limit, nil)).To(Equal(sorted), "limit %d", limit)
			Expect(walk(ctx, limit, &now)).To(Equal(sorted), "limit %d, as of", limit)
		}
	})

	It("refuses a cursor that another list gave out", func(ctx context.Context) {
		foreign, err := httpx.EncodeCursor("audit", map[string]int{"b": 1})
		Expect(err).NotTo(HaveOccurred())
		for _, cursor := range []string{foreign, "nonsense"} {
			_, err = list(ctx, tenant, api.ListProvidersParams{Cursor: &cursor})
			Expect(err).To(MatchError(ContainSubstring("cursor")))
			_, err = list(ctx, tenant, api.ListProvidersParams{Cursor: &cursor, AsOf: new(time.Now())})
			Expect(err).To(MatchError(ContainSubstring("cursor")))
			_, err = f.providers.ListProviderHealth(as(ctx, tenant), api.ListProviderHealthRequestObject{Params: api.ListProviderHealthParams{Cursor: &cursor}})
			Expect(err).To(MatchError(ContainSubstring("cursor")))
		}
	})

	It("keeps its place while others come and go", func(ctx context.Context) {
		for i := range 20 {
			f.register(ctx, tenant, fmt.Sprintf("stays %02d", i))
		}
		f.project(ctx, tenant)
		done := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			defer GinkgoRecover()
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				f.register(ctx, tenant, fmt.Sprintf("comes %04d", i))
				f.register(ctx, tenant, fmt.Sprintf("stays %02d and another", i%20))
				f.project(ctx, tenant)
			}
		})
		for range 5 {
			seen := map[string]int{}
			for _, name := range walk(ctx, 3, nil) {
				seen[name]++
			}
			for i := range 20 {
				Expect(seen).To(HaveKeyWithValue(fmt.Sprintf("stays %02d", i), 1))
			}
		}
		close(done)
		group.Wait()
	})

	It("does not know what is not there, is gone, is no id, or is another's", func(ctx context.Context) {
		gone, foreign := f.register(ctx, tenant, "Gone"), f.register(ctx, other, "Foreign")
		f.append(ctx, tenant, providers.Stream(gone), did("DELETE", "/x", 204), providers.Deleted{ProviderID: gone, Name: "Gone"})
		f.project(ctx, tenant)
		f.project(ctx, other)
		for _, id := range []string{uuid.NewString(), gone, "1; drop table", "", foreign} {
			_, err := get(ctx, tenant, id, nil)
			Expect(err).To(MatchError(providers.ErrNotFound), id)
			_, err = get(ctx, tenant, id, new(time.Now().Add(time.Minute)))
			Expect(err).To(MatchError(providers.ErrNotFound), id)
			_, err = f.providers.GetProviderHealth(as(ctx, tenant), api.GetProviderHealthRequestObject{ID: id})
			Expect(err).To(MatchError(providers.ErrNotFound), id)
			_, err = f.providers.Current(ctx, tenant, id)
			Expect(err).To(MatchError(providers.ErrNotFound), id)
		}
		Expect(walk(ctx, 10, nil)).To(BeEmpty())
		_, err := get(ctx, other, foreign, nil)
		Expect(err).NotTo(HaveOccurred())
	})

	It("is kept apart by row-level security, whatever a query says", func(ctx context.Context) {
		f.register(ctx, other, "Foreign")
		f.project(ctx, other)
		for setting, want := range map[string]int{other: 1, tenant: 0, "": 0} {
			tx, err := f.app.Begin(ctx)
			Expect(err).NotTo(HaveOccurred())
			if setting != "" {
				_, err = tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, setting)
				Expect(err).NotTo(HaveOccurred())
			}
			var found int
			Expect(tx.QueryRow(ctx, `select count(*) from model_providers where tenant_id = $1`, other).Scan(&found)).To(Succeed())
			Expect(found).To(Equal(want), "with tenant %q set", setting)
			Expect(tx.Rollback(ctx)).To(Succeed())
		}
	})

	It("shows the past: between two events, before the first, after the deletion", func(ctx context.Context) {
		start := time.Now().Add(-time.Hour)
		id := f.register(ctx, tenant, "Old name")
		at := func(result int64) time.Time {
			GinkgoHelper()
			events, err := f.store.At(ctx, tenant, []int64{result})
			Expect(err).NotTo(HaveOccurred())
			return events[0].Time()
		}
		f.probe(ctx, tenant, id, true, 0)
		renamed := f.append(ctx, tenant, providers.Stream(id), did("PUT", "/x", 200), providers.Updated{
			ProviderID: id, Config: providers.Config{Name: "New name", Type: "vllm", BaseURL: "https://h"}, Secret: providers.Secret{VaultPath: "p", SecretVersion: 2},
		})
		f.append(ctx, tenant, providers.Stream(id), did("DELETE", "/x", 204), providers.Deleted{ProviderID: id, Name: "New name"})
		late := f.register(ctx, tenant, "Later")
		f.project(ctx, tenant)

		before := func(t time.Time) *time.Time { return new(t.Add(-time.Microsecond)) }
		found, err := get(ctx, tenant, id, before(at(renamed.Last)))
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Body.Data).To(And(HaveField("Name", "Old name"), HaveField("Version", int64(1)), HaveField("RateLimitRPM", HaveValue(Equal(int64(60))))))
		Expect(names(must(list(ctx, tenant, api.ListProvidersParams{AsOf: before(at(renamed.Last))})).Data)).To(Equal([]string{"Old name"}))

		found, err = get(ctx, tenant, id, new(at(renamed.Last)))
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Body.Data).To(And(HaveField("Name", "New name"), HaveField("Version", int64(2)), HaveField("HealthStatus", api.HealthStatus("healthy"))))
		Expect(found.Headers.ETag).To(HaveValue(Equal(httpx.ETag(2))))

		_, err = get(ctx, tenant, id, new(time.Now().Add(time.Second)))
		Expect(err).To(MatchError(providers.ErrNotFound))
		Expect(names(must(list(ctx, tenant, api.ListProvidersParams{AsOf: new(time.Now().Add(time.Second))})).Data)).To(Equal([]string{"Later"}))

		_, err = get(ctx, tenant, late, &start)
		Expect(err).To(MatchError(providers.ErrNotFound))
		Expect(must(list(ctx, tenant, api.ListProvidersParams{AsOf: &start})).Data).To(BeEmpty())
		Expect(must(list(ctx, "nobody", api.ListProvidersParams{AsOf: &start})).Data).To(BeEmpty())
	})

	It("shows in the past what it showed then", func(ctx context.Context) {
		busy, probed := f.register(ctx, tenant, "Busy"), f.register(ctx, tenant, "Probed")
		f.probe(ctx, tenant, probed, false, 1)
		f.sample(ctx, busy, time.Minute, 2, repeat(100, 30)...)
		f.sample(ctx, busy, 6*time.Minute, 40, repeat(5000, 40)...)
		f.project(ctx, tenant)
		now := must(list(ctx, tenant, api.ListProvidersParams{})).Data
		f.now = time.Now()
		then := must(list(ctx, tenant, api.ListProvidersParams{AsOf: new(f.now)})).Data
		Expect(then).To(Equal(now))
		Expect(now[0]).To(And(HaveField("HealthStatus", api.HealthStatus("degraded")), HaveField("ErrorRatePct", HaveValue(BeNumerically("~", 6.67)))))
		Expect(now[1].HealthStatus).To(Equal(api.HealthStatus("unhealthy")))
	})

	It("answers with a fault that says to come again where the database is away", func(ctx context.Context) {
		f.app.Close()
		_, err := list(ctx, tenant, api.ListProvidersParams{})
		Expect(err).To(HaveOccurred())
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err = list(cancelled, tenant, api.ListProvidersParams{})
		Expect(err).To(HaveOccurred())
	})

	It("answers the schemas of credentials and who the caller is", func(ctx context.Context) {
		schemas, err := f.providers.GetCredentialSchemas(as(ctx, tenant), api.GetCredentialSchemasRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		Expect(schemas.(api.GetCredentialSchemas200JSONResponse).Data).To(Equal(f.providers.Schemas))
		me, err := readapi.Me{}.GetMe(as(ctx, tenant), api.GetMeRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		Expect(me.(api.GetMe200JSONResponse).Data).To(Equal(api.Me{
			TenantID: tenant, UserID: "ada", Name: "Ada Lovelace", Roles: []api.Role{"admin", "auditor"},
		}))
	})
})

func must[T any](value T, err error) T {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	return value
}

func repeat(value float64, n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = value
	}
	return all
}
