package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the departments projection", Label("postgres"), func() {
	const count = 120
	var log []projections.Event
	var names map[string]string
	var versions map[string]int64
	BeforeEach(func() {
		random := rand.New(rand.NewPCG(1, 2))
		log, names, versions = nil, map[string]string{}, map[string]int64{}
		for i := range count {
			id, name := fmt.Sprintf("d'%d", random.IntN(15)), fmt.Sprintf("Name %d", i)
			var payload eventstore.Typed = departments.Created{DepartmentID: id, Name: name}
			if was, exists := names[id]; exists {
				payload = departments.Renamed{DepartmentID: id, Name: name, Was: was}
			}
			names[id] = name
			versions[id]++
			log = append(log, recordedAt(int64(i+1), versions[id], departments.Stream(id), payload))
		}
	})

	DescribeTable("builds the same rows wherever batches end", func(ctx context.Context, table string) {
		b := newBench(ctx)
		whole := b.rowsOf(ctx, projections.Departments{}, table, log, len(log))
		for _, size := range []int{1, 7} {
			Expect(b.rowsOf(ctx, projections.Departments{}, table, log, size)).To(Equal(whole))
		}
	}, Entry("of departments", "departments"), Entry("of names", "department_names"))

	It("builds what a plain fold gives, and what each department was called when", func(ctx context.Context) {
		b := newBench(ctx)
		b.projectedBy(ctx, projections.Departments{}, "acme", log, 7)
		type row struct {
			ID, Name string
			Version  int64
		}
		present := collect[row](ctx, b, `select id, name, version from departments where tenant_id = 'acme'`)
		Expect(present).To(HaveLen(len(names)))
		for _, found := range present {
			Expect(found).To(Equal(row{found.ID, names[found.ID], versions[found.ID]}))
		}
		type change struct {
			Name     string
			Position int64
		}
		changes := collect[change](ctx, b, `select name, recorded_position from department_names where tenant_id = 'acme' order by recorded_position`)
		Expect(changes).To(HaveLen(count))
		for i, found := range changes {
			Expect(found).To(Equal(change{fmt.Sprintf("Name %d", i), int64(i + 1)}))
		}
	})
})
