package readapi_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/readapi"
)

var _ = Describe("departments", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })
	meta := did("POST", "/api/v1/departments", 201)
	create := func(ctx context.Context, of, id, name string) {
		GinkgoHelper()
		f.append(ctx, of, departments.Stream(id), meta, departments.Created{DepartmentID: id, Name: name})
	}
	names := func(ctx context.Context, params api.ListDepartmentsParams) []string {
		GinkgoHelper()
		found := []string{}
		for {
			response, err := f.departments.ListDepartments(as(ctx, tenant), api.ListDepartmentsRequestObject{Params: params})
			Expect(err).NotTo(HaveOccurred())
			page := response.(api.ListDepartments200JSONResponse)
			for _, one := range page.Data {
				found = append(found, one.Name)
			}
			if page.Meta.Pagination.NextCursor == nil {
				return found
			}
			params.Cursor = page.Meta.Pagination.NextCursor
		}
	}

	It("are listed by name, then id, page by page, as they are and as they were", func(ctx context.Context) {
		want := []string{}
		for i := range 7 {
			want = append(want, fmt.Sprintf("N'%d", i))
			create(ctx, tenant, fmt.Sprintf("d%d", 9-i), want[i])
		}
		create(ctx, other, "theirs", "A")
		f.project(ctx, tenant)
		f.project(ctx, other)
		then, err := f.store.Head(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(names(ctx, api.ListDepartmentsParams{Limit: new(2)})).To(Equal(want))

		renamed := f.append(ctx, tenant, departments.Stream("d9"), meta, departments.Renamed{DepartmentID: "d9", Name: "Z", Was: "N'0"})
		create(ctx, tenant, "new", "B")
		f.project(ctx, tenant)
		Expect(names(ctx, api.ListDepartmentsParams{Limit: new(3)})).To(Equal(append(append([]string{"B"}, want[1:]...), "Z")))
		events, err := f.store.At(ctx, tenant, []int64{then.Position})
		Expect(err).NotTo(HaveOccurred())
		at := events[0].Time()
		Expect(renamed.OccurredAt).To(BeNumerically(">", at.UnixMicro()))
		Expect(names(ctx, api.ListDepartmentsParams{Limit: new(3), AsOf: &at})).To(Equal(want))
		response, err := f.departments.GetDepartment(as(ctx, tenant), api.GetDepartmentRequestObject{ID: "d9", Params: api.GetDepartmentParams{AsOf: &at}})
		Expect(err).NotTo(HaveOccurred())
		Expect(response.(api.GetDepartment200JSONResponse).Body.Data).To(And(HaveField("Name", "N'0"), HaveField("Version", BeEquivalentTo(1))))
	})

	It("that are another tenant's, or can't be, are not there", func(ctx context.Context) {
		create(ctx, other, "theirs", "A")
		f.project(ctx, other)
		for _, id := range []string{"theirs", "a b", "", "a\x00"} {
			_, err := f.departments.GetDepartment(as(ctx, tenant), api.GetDepartmentRequestObject{ID: id})
			Expect(err).To(Equal(error(departments.ErrNotFound)))
		}
	})
})

// countedLog counts the looks at a log, which may fail.
type countedLog struct {
	history
	looks, reads int
	err          error
}

func (c *countedLog) Newest(ctx context.Context, tenant string, after int64, types []string) (position, head int64, err error) {
	c.looks++
	if c.err != nil {
		return 0, 0, c.err
	}
	return c.history.Newest(ctx, tenant, after, types)
}

func (c *countedLog) Last(ctx context.Context, tenant, stream, eventType string) (eventstore.Recorded, bool, error) {
	c.reads++
	return c.history.Last(ctx, tenant, stream, eventType)
}

var _ = Describe("time zones", Label("postgres"), func() {
	It("are each tenant's own, and known within half a second on every node without being read each time", func(ctx context.Context) {
		f := newFixture(ctx)
		now := time.Now()
		log := &countedLog{history: history{f.store, eventcodec.New()}}
		zones := readapi.NewTimeZones(log, func() time.Time { return now })
		zone := func(of string) string {
			GinkgoHelper()
			location, err := zones.TimeZone(ctx, of)
			Expect(err).NotTo(HaveOccurred())
			return location.String()
		}
		change := func(name string) {
			GinkgoHelper()
			f.append(ctx, tenant, costsettings.Stream, did("PUT", "/api/v1/cost/settings", 200), costsettings.Changed{Settings: costsettings.Settings{TimeZone: name}})
		}
		Expect([]string{zone(tenant), zone(other)}).To(Equal([]string{"UTC", "UTC"}))
		change("Europe/Berlin")
		Expect(zone(tenant)).To(Equal("UTC"), "not looked at again yet")
		now = now.Add(500 * time.Millisecond)
		Expect([]string{zone(tenant), zone(other)}).To(Equal([]string{"Europe/Berlin", "UTC"}))
		looks, reads := log.looks, log.reads
		for range 100 {
			Expect(zone(tenant)).To(Equal("Europe/Berlin"))
		}
		Expect(log.looks).To(Equal(looks))
		now = now.Add(time.Second)
		f.register(ctx, tenant, "Something else")
		Expect(zone(tenant)).To(Equal("Europe/Berlin"))
		Expect([]int{log.looks, log.reads}).To(Equal([]int{looks + 1, reads}), "other events change nothing")

		change("Asia/Tokyo")
		zones.Forget(tenant)
		Expect(zone(tenant)).To(Equal("Asia/Tokyo"), "what this node changed is known at once")

		log.err = errors.New("the database is away")
		now = now.Add(time.Second)
		_, err := zones.TimeZone(ctx, tenant)
		Expect(err).To(MatchError(log.err))
		log.err = nil
		Expect(zone(tenant)).To(Equal("Asia/Tokyo"))
	})
})
