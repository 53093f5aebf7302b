package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/cmd/archon/cli"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/projections"
)

// notRead are the tables that the worker writes and that are no projection's: the log, what is known of the work, and what
// is to be done; and the signed tree, which has proofs of its own.
var notRead = []string{"events", "chain_heads", "commands", "projection_checkpoints", "jobs", "provider_probes", "audit_tiles", "audit_trees", "audit_checkpoints"}

// These specs hold for every projection that there is, and for every one that is added: what they need to know of it is in
// its Tables, in the golden files of the events that it handles, and in the database.
var _ = Describe("Every projection", Label("postgres"), Ordered, func() {
	var (
		owner        *pgxpool.Pool
		store        *eventstore.Store
		live, runner *projections.Runner
		names        []string // of those that can be rebuilt
		tables       []string // that are theirs
	)

	BeforeAll(func(ctx context.Context) {
		server, err := testdb.Start(context.WithoutCancel(ctx))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
		db, err := server.Create(ctx)
		Expect(err).NotTo(HaveOccurred())
		pool := func(open func() (*pgxpool.Pool, error)) *pgxpool.Pool {
			GinkgoHelper()
			opened, err := open()
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(opened.Close)
			return opened
		}
		owner = pool(func() (*pgxpool.Pool, error) { return pgxpool.New(context.WithoutCancel(ctx), db.OwnerURL()) })
		app := pool(func() (*pgxpool.Pool, error) { return db.Pool(context.WithoutCancel(ctx), "archon_app", 4) })
		worker := pool(func() (*pgxpool.Pool, error) { return db.Pool(context.WithoutCancel(ctx), "archon_worker", 8) })
		store = eventstore.New(app, eventstore.Config{})
		DeferCleanup(store.Close)
		// What serves is built in other batches than what is held against it.
		live, err = projections.NewRunner(worker, eventcodec.New(), projections.Config{MaxBatchEvents: 40}, cli.Projectors()...)
		Expect(err).NotTo(HaveOccurred())
		runner, err = projections.NewRunner(worker, eventcodec.New(), projections.Config{MaxBatchEvents: 7}, cli.Projectors()...)
		Expect(err).NotTo(HaveOccurred())
		for _, projector := range cli.Projectors() {
			if rebuildable, is := projector.(projections.Rebuildable); is {
				names, tables = append(names, projector.Name()), append(tables, rebuildable.Tables()...)
			}
		}
	})

	It("names its tables, each table is one projection's, and only reactions have none", func(ctx context.Context) {
		for _, projector := range cli.Projectors() {
			reaction := strings.HasSuffix(reflect.TypeOf(projector).PkgPath(), "/reactions")
			rebuildable, can := projector.(projections.Rebuildable)
			Expect(can).To(Equal(!reaction), projector.Name())
			if can {
				Expect(rebuildable.Tables()).NotTo(BeEmpty(), projector.Name())
			}
		}
		Expect(rowsOf[string](owner.Query(ctx, `select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
			and not c.relispartition and has_table_privilege('archon_worker', c.oid, 'insert') and c.relname <> all($1)`, notRead))).To(ConsistOf(tables))
	})

	It("has tables in the schema rebuild that are like its own", func(ctx context.Context) {
		shape := func(schema string) map[string][]string {
			GinkgoHelper()
			shapes := map[string][]string{}
			for _, table := range tables {
				lines := rowsOf[string](owner.Query(ctx, `
					select concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attcollation, pg_get_expr(adbin, adrelid))
						from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
						where attrelid = ($1 || '.' || $2)::regclass and attnum > 0 and not attisdropped
					union all select pg_get_constraintdef(oid) from pg_constraint where conrelid = ($1 || '.' || $2)::regclass and contype <> 'n'
					union all select regexp_replace(regexp_replace(pg_get_indexdef(indexrelid), ' INDEX \S+ ON (ONLY )?\S+', ''), '.*USING', 'USING') || indisunique
						from pg_index where indrelid = ($1 || '.' || $2)::regclass and indisunique
					union all select concat_ws(' ', 'policy', polname, pg_get_expr(polqual, polrelid)) from pg_policy
						where polrelid = ($1 || '.' || $2)::regclass and polname = 'tenant_isolation'
					union all select concat_ws(' ', 'security', relrowsecurity, relforcerowsecurity) from pg_class where oid = ($1 || '.' || $2)::regclass
					order by 1`, schema, table))
				shapes[table] = lines
			}
			return shapes
		}
		Expect(shape("rebuild")).To(Equal(shape("public")))
		Expect(rowsOf[string](owner.Query(ctx, `select relname from pg_class where relnamespace = 'rebuild'::regnamespace and relkind in ('r', 'p')`))).To(ConsistOf(tables))
		Expect(rowsOf[string](owner.Query(ctx, `select conname from pg_constraint where contype = 'f' and (conrelid::regclass::text = any($1) or confrelid::regclass::text = any($1))
			union all select tgname from pg_trigger where tgrelid::regclass::text = any($1) and not tgisinternal
			union all select attname from pg_attribute where attrelid::regclass::text = any($1) and attidentity <> ''`, tables))).
			To(BeEmpty(), "references, triggers and numbers of the table's own would tell a swapped row from the one before")
		Expect(rowsOf[string](owner.Query(ctx, `select r from unnest(array['archon_app', 'archon_reader']) r where has_schema_privilege(r, 'rebuild', 'usage')`))).To(BeEmpty())
	})

	// rows are all rows of the tables, as text.
	rows := func(ctx context.Context) map[string][]string {
		GinkgoHelper()
		found := map[string][]string{}
		for _, table := range tables {
			found[table] = rowsOf[string](owner.Query(ctx, `select t::text from `+pgx.Identifier{"public", table}.Sanitize()+` t order by 1`))
		}
		return found
	}
	differing := func(ctx context.Context, name, tenant string) []string {
		GinkgoHelper()
		list := []string{}
		_, err := runner.Diff(ctx, name, tenant, func(one projections.Difference) error {
			list = append(list, fmt.Sprint(one.Table, " ", one.Kind))
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		return list
	}
	rebuild := func(ctx context.Context, name, tenant string) projections.Progress {
		GinkgoHelper()
		tenants, err := runner.RequestRebuild(ctx, name, tenant, false)
		Expect(err).NotTo(HaveOccurred())
		Expect(runner.Rebuild(ctx, name, tenants, 2)).To(Succeed())
		progress, err := runner.Progress(ctx, name, tenants)
		Expect(err).NotTo(HaveOccurred())
		return progress
	}

	It("gives the same rows when it is rebuilt, once and again, and touches nothing but its own tables", func(ctx context.Context) {
		for i, tenant := range []string{"acme", "beta"} {
			log := goldenLog(uint64(i)+uint64(GinkgoRandomSeed()), 12)
			var last int64
			for batch := range slices.Chunk(log, 50) {
				result, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: batch, Meta: []byte(`{"actor":{"id":"ada","type":"user"},"method":"POST","path":"/x","status":200}`)})
				Expect(err).NotTo(HaveOccurred())
				last = result.Last
			}
			Expect(live.Wait(ctx, tenant, last)).To(Succeed())
		}
		before := rows(ctx)
		for _, table := range tables {
			Expect(before[table]).NotTo(BeEmpty(), "the log has nothing for "+table)
		}
		jobs := rowsOf[int64](owner.Query(ctx, `select count(*) from jobs`))
		for _, name := range names {
			Expect(differing(ctx, name, "acme")).To(BeEmpty(), name)

			By("rebuilding " + name + " without access to any read table, up to the swap")
			_, err := owner.Exec(ctx, `revoke all on `+strings.Join(tables, ", ")+` from archon_worker`)
			Expect(err).NotTo(HaveOccurred())
			stopped := rebuild(ctx, name, "")
			_, granted := owner.Exec(ctx, `grant select, insert, update, delete on `+strings.Join(tables, ", ")+` to archon_worker`)
			Expect(granted).NotTo(HaveOccurred())
			Expect(stopped).To(And(HaveField("Stopped", 2), HaveField("Error", ContainSubstring("swap the rows: ERROR: permission denied")), HaveField("Position", stopped.Head)), name)
			Expect(runner.Retry(ctx, name, "")).To(HaveLen(2))
			Expect(runner.Rebuild(ctx, name, nil, 2)).To(Succeed())
			Expect(rows(ctx)).To(Equal(before), name)
			Expect(rebuild(ctx, name, "")).To(HaveField("Tenants", 0))
			Expect(rows(ctx)).To(Equal(before), name+", again")
		}
		Expect(rowsOf[int64](owner.Query(ctx, `select count(*) from jobs`))).To(Equal(jobs))
	})

	It("is mended by a rebuild, and what was changed is named before", func(ctx context.Context) {
		before := rows(ctx)
		for _, projector := range cli.Projectors() {
			rebuildable, is := projector.(projections.Rebuildable)
			if !is {
				continue
			}
			missing, changed := []string{}, []string{}
			for _, table := range rebuildable.Tables() {
				_, err := owner.Exec(ctx, `delete from `+table+` where ctid = (select min(ctid) from `+table+` where tenant_id = 'acme')`)
				Expect(err).NotTo(HaveOccurred())
				missing = append(missing, table+" missing")
				tag, err := owner.Exec(ctx, `update `+table+` set created_at = created_at + interval '1 microsecond'
					where ctid = (select max(ctid) from `+table+` where tenant_id = 'acme')`)
				Expect(err).NotTo(HaveOccurred())
				if tag.RowsAffected() == 1 {
					changed = append(changed, table+" changed")
				}
			}
			Expect(differing(ctx, projector.Name(), "acme")).To(ConsistOf(append(missing, changed...)), projector.Name())
			Expect(differing(ctx, projector.Name(), "beta")).To(BeEmpty())
			Expect(rebuild(ctx, projector.Name(), "acme")).To(HaveField("Tenants", 0))
			Expect(rows(ctx)).To(Equal(before), projector.Name())
		}
	})

	It("is not rebuilt where it is a reaction", func(ctx context.Context) {
		for _, projector := range cli.Projectors() {
			if _, is := projector.(projections.Rebuildable); !is {
				_, err := runner.RequestRebuild(ctx, projector.Name(), "", false)
				Expect(err).To(MatchError(projections.ErrNeverRebuilt), projector.Name())
			}
		}
	})
})

var (
	anyUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	anyTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
	// What begins a thing, which happens to it once; and what else has to be there before other events refer to it.
	begins   = regexp.MustCompile(`created|registered|raised|claimed`)
	precedes = regexp.MustCompile(`^usage\.recorded`)
)

// goldenLog is a random log of a new tenant, made of the golden files of all events: a number of stories, each with things of
// its own, which begin before anything else happens to them.
func goldenLog(seed uint64, stories int) []eventstore.NewEvent {
	GinkgoHelper()
	random := rand.New(rand.NewPCG(seed, 50))
	all := make([]*story, stories)
	for i := range all {
		all[i] = newStory(random)
	}
	var log []eventstore.NewEvent
	for len(all) > 0 {
		i := random.IntN(len(all))
		log = append(log, all[i].next(int64(len(log)+1)))
		if len(all[i].pending) == 0 {
			all = slices.Delete(all, i, i+1)
		}
	}
	return log
}

// story has ids and times of its own in the place of those of the golden files.
type story struct {
	random  *rand.Rand
	ids     map[string]string
	pending []string // the types of the events that are to come
	// call is the first recorded call, with its position: differences are about it.
	call map[string]any
}

func newStory(random *rand.Rand) *story {
	s := &story{random: random, ids: map[string]string{}}
	var later []string
	for _, event := range eventcodec.Contexts() {
		name := event.EventType()
		if begins.MatchString(name) || precedes.MatchString(name) {
			s.pending = append(s.pending, name)
		}
		for n := 1 + random.IntN(4); n > 0 && !begins.MatchString(name); n-- {
			later = append(later, name)
		}
	}
	random.Shuffle(len(later), func(a, b int) { later[a], later[b] = later[b], later[a] })
	s.pending = append(s.pending, later...)
	return s
}

// next is the next event, which is to be at a position.
func (s *story) next(position int64) eventstore.NewEvent {
	GinkgoHelper()
	name := s.pending[0]
	s.pending = s.pending[1:]
	files, err := filepath.Glob("../../../domain/*/testdata/" + name + ".json")
	Expect(err).NotTo(HaveOccurred())
	Expect(files).To(HaveLen(1), name)
	raw, err := os.ReadFile(files[0])
	Expect(err).NotTo(HaveOccurred())
	var data map[string]any
	Expect(json.Unmarshal(raw, &data)).To(Succeed())
	s.own("", data)
	switch {
	case name == "usage.recorded.v1" && s.call == nil:
		s.call = map[string]any{"position": position, "started_at": data["started_at"], "model": data["model"]}
	case name == "costs.call_repriced.v1":
		data["position"], data["started_at"] = s.call["position"], s.call["started_at"]
		for _, part := range data["parts"].([]any) {
			part.(map[string]any)["model"] = s.call["model"]
		}
	}
	encoded, err := json.Marshal(data)
	Expect(err).NotTo(HaveOccurred())
	noun, _, _ := strings.Cut(name, ".")
	return eventstore.NewEvent{Stream: noun + "-" + s.id("stream", ""), Type: name, Data: encoded}
}

func (s *story) id(field, golden string) string {
	if s.ids[field+golden] == "" {
		s.ids[field+golden] = uuid.Must(uuid.NewRandom()).String()
	}
	return s.ids[field+golden]
}

// own gives a golden value the story's ids and times of its own.
func (s *story) own(field string, value any) any {
	switch typed := value.(type) {
	case map[string]any:
		for name := range typed {
			typed[name] = s.own(name, typed[name])
		}
	case []any:
		for i := range typed {
			typed[i] = s.own(field, typed[i])
		}
	case string:
		switch {
		case anyUUID.MatchString(typed):
			return s.id(field, typed)
		case strings.HasSuffix(field, "_id"):
			return typed + "-" + s.id("text", "")
		case anyTime.MatchString(typed):
			past := time.Duration(s.random.IntN(4*3600_000)) * time.Millisecond // for what is kept for hours only
			return time.Now().UTC().Add(-past).Format("2006-01-02T15:04:05.000000Z")
		}
	}
	return value
}
