package commands_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/internal/httpx"
)

func (f *fixture) createDepartment(ctx context.Context, id *string, name string) (httpx.Answer, error) {
	done, err := f.departments.CreateDepartment(ctx, api.CreateDepartmentRequestObject{Body: &api.CreateDepartment{ID: id, Name: name}})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func (f *fixture) renameDepartment(ctx context.Context, id, name string) (httpx.Answer, error) {
	done, err := f.departments.RenameDepartment(ctx, api.RenameDepartmentRequestObject{ID: id, Body: &api.RenameDepartment{Name: name}})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

// department makes one that has to be accepted.
func (f *fixture) department(id, name string) {
	GinkgoHelper()
	_, err := f.createDepartment(as(), &id, name)
	Expect(err).NotTo(HaveOccurred())
}

func departmentIn(answer httpx.Answer) api.Department {
	GinkgoHelper()
	var envelope api.DepartmentEnvelope
	Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed())
	return envelope.Data
}

var _ = Describe("Commands on departments", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })

	It("give one of many that want a name at once the name, and the others a refusal", func() {
		const many = 20
		results := make([]error, many)
		var group sync.WaitGroup
		for i := range many {
			group.Go(func() {
				id, name := fmt.Sprint("d", i), "Support"
				if i%2 == 0 {
					name = "SUPPORT"
				}
				_, results[i] = f.createDepartment(as(), &id, name)
			})
		}
		group.Wait()
		made := 0
		for _, err := range results {
			if err == nil {
				made++
				continue
			}
			Expect(err).To(Or(Equal(error(departments.ErrNameTaken)), Equal(error(commands.ErrContended))))
		}
		Expect(made).To(Equal(1))
		Expect(f.types()).To(ConsistOf("department.created.v1", "departmentname.claimed.v1"))
	})

	It("keep names unique while departments swap them at once", func() {
		f.department("a", "One")
		f.department("b", "Two")
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				_, _ = f.renameDepartment(as(), []string{"a", "b"}[i%2], []string{"One", "Two", "Three"}[i%3])
			})
		}
		group.Wait()
		holders := map[string]string{}
		for _, event := range f.log() {
			switch event.Type {
			case "departmentname.claimed.v1":
				var claimed departments.NameClaimed
				Expect(json.Unmarshal(event.Data, &claimed)).To(Succeed())
				Expect(holders[claimed.Name]).To(BeEmpty(), "position %d claims what another one has", event.Position)
				holders[claimed.Name] = claimed.DepartmentID
			case "departmentname.released.v1":
				var released departments.NameReleased
				Expect(json.Unmarshal(event.Data, &released)).To(Succeed())
				Expect(holders[released.Name]).To(Equal(released.DepartmentID))
				delete(holders, released.Name)
			}
		}
		Expect(holders).To(HaveLen(2))
	})

	It("show the department as it is, with the time of its creation", func() {
		id := "support"
		created, err := f.createDepartment(as(), &id, "Support")
		Expect(err).NotTo(HaveOccurred())
		Expect(created.Status).To(Equal(http.StatusCreated))
		renamed, err := f.renameDepartment(as(ifMatch(1)), id, "Care")
		Expect(err).NotTo(HaveOccurred())
		Expect(departmentIn(renamed)).To(Equal(api.Department{ID: id, Name: "Care", Version: 2, CreatedAt: departmentIn(created).CreatedAt}))
		_, err = f.renameDepartment(as(ifMatch(1)), id, "Later")
		Expect(err).To(Equal(error(commands.ErrStale)))
		for _, nobody := range []string{"nobody", "a b", ""} {
			_, err = f.renameDepartment(as(), nobody, "X")
			Expect(err).To(Equal(error(departments.ErrNotFound)))
		}
	})
})
