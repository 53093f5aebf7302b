package transparency_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/mod/sumdb/note"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/eventstore/exportcheck"
	"github.com/archonhq/archon/internal/transparency"
)

// write makes the suite write its results into the document instead of comparing them.
var write = flag.Bool("write", false, "write the table of crimes into docs/audit-format.md")

const (
	document   = "../../docs/audit-format.md"
	tableBegin = "<!-- what catches what; internal/transparency/matrix_test.go writes it -->\n"
	tableEnd   = "<!-- end -->\n"
)

// scene is a log of six events, of which a checkpoint was signed and kept elsewhere.
type scene struct {
	*place

	outside string
	vkey    string
}

func newScene(ctx context.Context) *scene {
	GinkgoHelper()
	s := &scene{place: newPlace(ctx)}
	s.append(ctx, 4)
	for _, table := range []string{"events", "chain_heads", "audit_tiles", "audit_trees", "audit_checkpoints"} {
		if table == "audit_tiles" {
			_, err := s.signer.Checkpoint(ctx, s.tenant)
			Expect(err).NotTo(HaveOccurred())
		}
		s.do(ctx, `create table if not exists backup_`+table+` as table `+table+` with no data`)
		s.do(ctx, `insert into backup_`+table+` select * from `+table+` where tenant_id = $1`, s.tenant)
	}
	s.append(ctx, 2)
	signed, err := s.signer.Checkpoint(ctx, s.tenant)
	Expect(err).NotTo(HaveOccurred())
	s.outside = signed.Note
	_, s.vkey, err = s.signer.Key(ctx, s.tenant)
	Expect(err).NotTo(HaveOccurred())
	return s
}

// restore puts back the backup of when the log had four events.
func (s *scene) restore(ctx context.Context) {
	GinkgoHelper()
	for _, table := range []string{"events", "chain_heads", "audit_tiles", "audit_trees", "audit_checkpoints"} {
		s.do(ctx, `delete from `+table+` where tenant_id = $1`, s.tenant)
		s.do(ctx, `insert into `+table+` select * from backup_`+table+` where tenant_id = $1`, s.tenant)
	}
}

// row changes a row in the middle.
func row(set string) func(ctx context.Context, s *scene) {
	return func(ctx context.Context, s *scene) {
		s.do(ctx, `update events set `+set+` where tenant_id = $1 and position = 3`, s.tenant)
	}
}

// sql runs statements, in which $1 is the tenant.
func sql(statements ...string) func(ctx context.Context, s *scene) {
	return func(ctx context.Context, s *scene) {
		for _, statement := range statements {
			s.do(ctx, statement, s.tenant)
		}
	}
}

// moveHead makes the head row fit the last event.
const moveHead = `update chain_heads h set (position, hash, occurred_at) = (select position, hash, occurred_at from events e where e.tenant_id = h.tenant_id order by position desc limit 1) where tenant_id = $1`

// crimes are what somebody with all rights on the database, but without the signing key, may do to it.
var crimes = []struct {
	name   string
	commit func(ctx context.Context, s *scene)
}{
	{"nothing", func(context.Context, *scene) {}},
	{"nothing, and events were added since", func(ctx context.Context, s *scene) { s.append(ctx, 3) }},
	{"nothing, and the rows were dumped and restored", sql(
		`create table dumped as select tenant_id, stream, type, position::text, version::text, event_id::text, command_id::text, occurred_at::text, meta::text, data::text, prev_hash::text, hash::text from events where tenant_id = $1`,
		`delete from events where tenant_id = $1`,
		`insert into events select tenant_id, stream, type, position::bigint, version::bigint, event_id::uuid, command_id::uuid, occurred_at::timestamptz, meta::bytea, data::bytea, prev_hash::bytea, hash::bytea from dumped where tenant_id = $1`,
	)},
	{"a changed `tenant_id`", row(`tenant_id = tenant_id || 'x'`)},
	{"a changed `stream`", row(`stream = stream || 'x'`)},
	{"a changed `type`", row(`type = type || 'x'`)},
	{"a changed `position`", row(`position = position + 100`)},
	{"a changed `version`", row(`version = version + 100`)},
	{"a changed `event_id`", row(`event_id = gen_random_uuid()`)},
	{"a changed `command_id`", row(`command_id = gen_random_uuid()`)},
	{"a changed `occurred_at`, by a microsecond", row(`occurred_at = occurred_at + interval '1 microsecond'`)},
	{"a flipped bit of `meta`", row(`meta = set_byte(meta, 0, get_byte(meta, 0) # 1)`)},
	{"a flipped bit of `data`", row(`data = set_byte(data, 0, get_byte(data, 0) # 1)`)},
	{"a flipped bit of `prev_hash`", row(`prev_hash = set_byte(prev_hash, 0, get_byte(prev_hash, 0) # 1)`)},
	{"a flipped bit of `hash`", row(`hash = set_byte(hash, 0, get_byte(hash, 0) # 1)`)},
	{"the first event deleted", sql(`delete from events where tenant_id = $1 and position = 1`)},
	{"one in the middle deleted", sql(`delete from events where tenant_id = $1 and position = 3`)},
	{"the last one deleted", sql(`delete from events where tenant_id = $1 and position = 6`)},
	{"the last one deleted, and the head moved back", sql(`delete from events where tenant_id = $1 and position = 6`, moveHead)},
	{"all events deleted, with the head", sql(`delete from events where tenant_id = $1`, `delete from chain_heads where tenant_id = $1`)},
	{"everything of the tenant deleted, from every table", func(ctx context.Context, s *scene) {
		sql(`delete from events where tenant_id = $1`, `delete from chain_heads where tenant_id = $1`)(ctx, s)
		forget(ctx, s.place)
	}},
	{"two events swapped", sql(
		`update events set position = -1 where tenant_id = $1 and position = 3`, `update events set position = 3 where tenant_id = $1 and position = 4`,
		`update events set position = 4 where tenant_id = $1 and position = -1`)},
	{"an event doubled at the end, with the head", sql(
		`insert into events select tenant_id, stream || 'x', type, 7, version, event_id, command_id, occurred_at, meta, data, prev_hash, hash from events where tenant_id = $1 and position = 6`, moveHead)},
	{"an event inserted, the rest moved up, with the head", sql(
		`update events set position = -position where tenant_id = $1 and position >= 4`, `update events set position = -position + 1 where tenant_id = $1 and position < 0`,
		`insert into events select tenant_id, 'intruder-1', type, 4, 1, gen_random_uuid(), command_id, occurred_at, meta, data, prev_hash, hash from events where tenant_id = $1 and position = 3`, moveHead)},
	{"an event rewritten with its own hash", func(ctx context.Context, s *scene) { s.rewriteOnly(ctx, 3) }},
	{"everything from an event on rewritten, with all hashes and the head", func(ctx context.Context, s *scene) { rewrite(ctx, s.place, 3) }},
	{"… and with the tables of the tree and the checkpoints emptied", func(ctx context.Context, s *scene) { rewrite(ctx, s.place, 3); forget(ctx, s.place) }},
	{"… and with the tree built anew", func(ctx context.Context, s *scene) { rewrite(ctx, s.place, 3); forget(ctx, s.place); s.grow(ctx) }},
	{"… and with a checkpoint of the forger's own key", func(ctx context.Context, s *scene) {
		rewrite(ctx, s.place, 3)
		forget(ctx, s.place)
		s.grow(ctx)
		s.seal(ctx, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	}},
	{"events backdated, with all hashes and the head", func(ctx context.Context, s *scene) {
		sql(`update events set occurred_at = occurred_at - interval '1 day' where tenant_id = $1`)(ctx, s)
		rewrite(ctx, s.place, 1)
		sql(moveHead)(ctx, s)
	}},
	{"another tenant's event in the place of one", func(ctx context.Context, s *scene) {
		theirs := newPlace(ctx)
		theirs.append(ctx, 6)
		s.do(ctx, `update events e set (event_id, command_id, occurred_at, meta, data, hash) = (select event_id, command_id, occurred_at, meta, data, hash from events o where o.tenant_id = $2 and o.position = 3)
			where e.tenant_id = $1 and e.position = 3`, s.tenant, theirs.tenant)
	}},
	{"the head moved back, the events left", sql(`update chain_heads set position = 5 where tenant_id = $1`)},
	{"a tile of the tree changed", sql(`update audit_tiles set hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) where tenant_id = $1`)},
	{"the signatures of the stored checkpoints stripped", sql(`update audit_checkpoints set note = split_part(note, E'\n\n', 1) || E'\n\n' where tenant_id = $1`)},
	{"a backup restored, of every table", func(ctx context.Context, s *scene) { s.restore(ctx) }},
	{"a backup restored, and other events added: a fork with a common beginning", func(ctx context.Context, s *scene) { s.restore(ctx); s.append(ctx, 4) }},
}

// rewriteOnly changes an event together with its own hash.
func (s *scene) rewriteOnly(ctx context.Context, position int64) {
	GinkgoHelper()
	rows, err := s.store.Read(ctx, s.tenant, position-1, 1)
	Expect(err).NotTo(HaveOccurred())
	rows[0].Data = []byte(`{"changed":true}`)
	sum := eventstore.Hash(&rows[0])
	s.do(ctx, `update events set data = $3, hash = $4 where tenant_id = $1 and position = $2`, s.tenant, position, rows[0].Data, sum[:])
}

func (s *scene) grow(ctx context.Context) {
	GinkgoHelper()
	_, err := s.store.GrowTree(ctx, s.tenant)
	Expect(err).NotTo(HaveOccurred())
}

// forged signs whatever the log is now with a key.
func (s *scene) forged(ctx context.Context, key ed25519.PrivateKey) (eventstore.Checkpoint, string) {
	GinkgoHelper()
	rows, err := s.store.Read(ctx, s.tenant, 0, 100)
	Expect(err).NotTo(HaveOccurred())
	var tree eventstore.Range
	for i := range rows {
		tree.Add(rows[i].Hash)
	}
	checkpoint := eventstore.Checkpoint{Origin: eventstore.Origin(deployment, s.tenant, 1), Size: tree.Size(), Root: tree.Root()}
	vkey, err := note.NewEd25519VerifierKey(checkpoint.Origin, key.Public().(ed25519.PublicKey))
	Expect(err).NotTo(HaveOccurred())
	id := strings.Split(vkey, "+")[1]
	signer, err := note.NewSigner("PRIVATE+KEY+" + checkpoint.Origin + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...)))
	Expect(err).NotTo(HaveOccurred())
	signed, err := note.Sign(&note.Note{Text: checkpoint.Body()}, signer)
	Expect(err).NotTo(HaveOccurred())
	return checkpoint, string(signed)
}

// seal stores a checkpoint of the log as it is now, as the signer would.
func (s *scene) seal(ctx context.Context, key ed25519.PrivateKey) {
	GinkgoHelper()
	checkpoint, signed := s.forged(ctx, key)
	Expect(s.store.KeepCheckpoint(ctx, s.tenant, checkpoint, signed)).To(Succeed())
}

// theKey is the signing key itself.
func (s *scene) theKey(ctx context.Context) ed25519.PrivateKey {
	GinkgoHelper()
	value, _, err := s.secrets.Get(ctx, "tenants/"+s.tenant+"/audit/key", 0)
	Expect(err).NotTo(HaveOccurred())
	seed, err := base64.StdEncoding.DecodeString(value["seed"])
	Expect(err).NotTo(HaveOccurred())
	return ed25519.NewKeyFromSeed(seed)
}

// export is every row of the tenant, and a seal where there is one.
func (s *scene) export(ctx context.Context, seal string) *bytes.Buffer {
	GinkgoHelper()
	rows, err := s.store.Read(ctx, s.tenant, 0, 100)
	Expect(err).NotTo(HaveOccurred())
	out := &bytes.Buffer{}
	for i := range rows {
		line, err := rows[i].ExportLine()
		Expect(err).NotTo(HaveOccurred())
		out.Write(append(line, '\n'))
	}
	if seal != "" {
		fmt.Fprintf(out, "{\"checkpoint\":%q}\n", seal)
	}
	return out
}

// inside is the newest checkpoint that the database has.
func (s *scene) inside(ctx context.Context) string {
	GinkgoHelper()
	sizes := make([]int64, 0, 20)
	for size := range int64(20) {
		sizes = append(sizes, size)
	}
	notes, err := s.store.Checkpoints(ctx, s.tenant, sizes...)
	Expect(err).NotTo(HaveOccurred())
	for size := int64(19); size > 0; size-- {
		if text, found := notes[size]; found {
			return text
		}
	}
	return ""
}

// judged is an export's verdict as the table shows it.
func (s *scene) judged(ctx context.Context, seal string, since ...string) string {
	GinkgoHelper()
	report, err := exportcheck.Verify(s.export(ctx, seal), exportcheck.Options{Keys: []string{s.vkey}, Since: since})
	Expect(err).NotTo(HaveOccurred())
	return map[exportcheck.Verdict]string{exportcheck.Sound: "–", exportcheck.Tampered: "tampered", exportcheck.Incomplete: "not sealed"}[report.Verdict]
}

// results asks everything that could notice, in an order in which none of them disturbs the next.
func (s *scene) results(ctx context.Context) []string {
	GinkgoHelper()
	report, err := s.store.Verify(ctx, s.tenant, eventstore.VerifyOptions{})
	Expect(err).NotTo(HaveOccurred())
	chain := "–"
	if !report.OK {
		chain = "tampered"
	}
	inside := s.judged(ctx, s.inside(ctx))
	_, resealed := s.forged(ctx, s.theKey(ctx))
	outside := s.judged(ctx, resealed, s.outside)
	tree := "–"
	if _, err := s.store.GrowTree(ctx, s.tenant); err != nil {
		Expect(err).To(MatchError(eventstore.ErrTreeBroken))
		tree = "broken"
	}
	signer := "–"
	_, err = s.signer.Checkpoint(ctx, s.tenant)
	if _, refused := errors.AsType[*transparency.Refusal](err); refused {
		signer = "refuses"
	} else {
		Expect(err).NotTo(HaveOccurred())
	}
	return []string{chain, tree, signer, inside, outside}
}

var _ = Describe("What catches what", func() {
	It("is as the document says, and nothing is caught by nothing", func(ctx context.Context) {
		var table strings.Builder
		table.WriteString("| done to the database | chain | stored tree | signer's guard | export with the checkpoint in the database | export signed anew with the key, and an older checkpoint from elsewhere |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, crime := range crimes {
			By(crime.name)
			s := newScene(ctx)
			crime.commit(ctx, s)
			results := s.results(ctx)
			fmt.Fprintf(&table, "| %s | %s |\n", crime.name, strings.Join(results, " | "))
			if strings.HasPrefix(crime.name, "nothing") {
				Expect(results[:3]).To(HaveEach("–"), crime.name+": a false alarm")
				Expect(results[4]).To(Equal("–"), crime.name+": a false alarm")
				continue
			}
			Expect(results).NotTo(HaveEach("–"), crime.name+" is caught by nothing")
		}
		text, err := os.ReadFile(document)
		Expect(err).NotTo(HaveOccurred())
		before, rest, found := strings.Cut(string(text), tableBegin)
		Expect(found).To(BeTrue(), document+" has no place for the table")
		written, after, found := strings.Cut(rest, tableEnd)
		Expect(found).To(BeTrue())
		if *write {
			Expect(os.WriteFile(document, []byte(before+tableBegin+table.String()+tableEnd+after), 0o644)).To(Succeed())
			return
		}
		Expect(written).To(Equal(table.String()), "go test ./internal/transparency -write")
	})
})
