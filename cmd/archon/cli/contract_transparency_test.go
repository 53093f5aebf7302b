package cli_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

const (
	checkpointPath  = auditPath + "/checkpoint"
	auditKeyPath    = auditPath + "/key"
	consistencyPath = auditPath + "/consistency"
	auditExportPath = auditPath + "/export"
)

// noteOf verifies a signed note as other people's tools do, and reads the checkpoint in it.
func noteOf(vkey, text string) eventstore.Checkpoint {
	GinkgoHelper()
	verifier, err := note.NewVerifier(vkey)
	Expect(err).NotTo(HaveOccurred())
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	Expect(err).NotTo(HaveOccurred())
	checkpoint, err := eventstore.ParseCheckpoint(opened.Text)
	Expect(err).NotTo(HaveOccurred())
	return checkpoint
}

// hashOf is a hash of an answer.
func hashOf(value any) tlog.Hash {
	GinkgoHelper()
	raw, err := hex.DecodeString(value.(string))
	Expect(err).NotTo(HaveOccurred())
	Expect(raw).To(HaveLen(tlog.HashSize))
	return tlog.Hash(raw)
}

func hashesOf(value any) []tlog.Hash {
	GinkgoHelper()
	hashes := []tlog.Hash{}
	for _, one := range value.([]any) {
		hashes = append(hashes, hashOf(one))
	}
	return hashes
}

var _ = Describe("The signed log", Ordered, ContinueOnFailure, Label("e2e"), func() {
	const tenant = "acme"
	var s *surface
	var auditor, admin, vkey string
	var upstream *gatewaytest.Server

	BeforeAll(func() {
		place := install()
		s = surfaceOf(place.start())
		admin, auditor = s.token(tenant, "ada", "admin"), s.token(tenant, "aud", "auditor")
		upstream = upstreamOf(gateway.OpenAI, gatewaytest.Options{})
	})

	It("has no checkpoint, key, proof or export while it is empty", func() {
		nobody := s.token("nobody", "nil", "auditor")
		for _, path := range []string{checkpointPath, auditKeyPath, auditPath + "/proof/1", consistencyPath, auditExportPath} {
			r := s.ask(http.MethodGet, path, nobody, nil)
			Expect(r.status).To(Equal(http.StatusNotFound), path)
			Expect(r.code()).To(Equal("not_found"))
		}
		Expect(filepath.Join(s.dir, "secrets", "secrets", "tenants", "nobody")).NotTo(BeADirectory(), "reading makes no key")
	})

	It("signs what is there at the moment, for others' tools to verify", func() {
		for i := range 3 {
			s.register(admin, openAI(fmt.Sprint("Signed ", i), upstream.URL, canary))
			vkey, _ = s.get(auditKeyPath, auditor).data()["key"].(string)
			r := s.get(checkpointPath, auditor, header{"Accept": "text/plain"})
			Expect(r.header.Get("Content-Type")).To(HavePrefix("text/plain"))
			checkpoint := noteOf(vkey, r.body)
			Expect(checkpoint.Origin).To(Equal("archon/" + tenant + "/1"))
			Expect(checkpoint.Size).To(Equal(s.head(auditor)))
		}
		Expect(s.ask(http.MethodGet, checkpointPath, auditor, nil, header{"Accept": "image/png"}).status).To(Equal(http.StatusNotAcceptable))
		Expect(s.ask(http.MethodGet, checkpointPath, s.token(tenant, "vi", "viewer"), nil).status).To(Equal(http.StatusForbidden))
	})

	It("proves every event to be in it", func() {
		head := s.head(auditor)
		for position := int64(1); position <= head; position++ {
			proof := s.get(fmt.Sprintf("%s/proof/%d", auditPath, position), auditor).data()
			checkpoint := noteOf(vkey, proof["checkpoint"].(string))
			leaf := hashOf(proof["leaf_hash"])
			event := hashOf(proof["event_hash"])
			Expect(leaf).To(Equal(tlog.RecordHash(event[:])))
			Expect(hashOf(proof["root"])).To(Equal(checkpoint.Root))
			Expect(tlog.CheckRecord(hashesOf(proof["proof"]), checkpoint.Size, checkpoint.Root, int64(proof["leaf_index"].(float64)), leaf)).To(Succeed())
			entry := s.entries(auditor, "telemetry=true&limit=500")[head-position]
			Expect(entry).To(And(HaveKeyWithValue("position", float64(position)), HaveKeyWithValue("hash", proof["event_hash"])))
		}
		for _, none := range []string{"0", "-1", "x", fmt.Sprint(head + 1), strings.Repeat("9", 30)} {
			Expect(s.ask(http.MethodGet, auditPath+"/proof/"+none, auditor, nil).status).To(Equal(http.StatusNotFound), none)
		}
	})

	It("proves an older checkpoint to be its beginning", func() {
		old := noteOf(vkey, s.get(checkpointPath, auditor).body)
		s.register(admin, openAI("Later", upstream.URL, canary))
		proof := s.get(fmt.Sprint(consistencyPath, "?from=", old.Size), auditor).data()
		checkpoint := noteOf(vkey, proof["checkpoint"].(string))
		Expect(proof).To(And(HaveKeyWithValue("from", float64(old.Size)), HaveKeyWithValue("to", float64(checkpoint.Size))))
		Expect(hashOf(proof["from_root"])).To(Equal(old.Root))
		Expect(hashOf(proof["to_root"])).To(Equal(checkpoint.Root))
		Expect(tlog.CheckTree(hashesOf(proof["proof"]), checkpoint.Size, checkpoint.Root, old.Size, old.Root)).To(Succeed())
		Expect(s.get(consistencyPath+"?from=2&to=2", auditor).data()).To(HaveKeyWithValue("proof", BeEmpty()))
		for _, bad := range []string{"from=3&to=2", "from=999", "to=999", "from=0", "from=x"} {
			Expect(s.ask(http.MethodGet, consistencyPath+"?"+bad, auditor, nil).code()).To(Equal("invalid_parameter"), bad)
		}
	})

	// kept writes text where a command can read it.
	kept := func(name, text string) string {
		GinkgoHelper()
		path := filepath.Join(GinkgoT().TempDir(), name)
		Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
		return path
	}
	verifies := func(code int, args ...string) string {
		GinkgoHelper()
		stdout, stderr, got := s.inProcess(append([]string{"audit", "verify"}, args...)...)
		Expect(got).To(Equal(code), stdout+stderr)
		return stdout + stderr
	}

	It("is exported with what an outsider needs, whole and in parts, by the API and the command line", func() {
		old := s.get(checkpointPath, auditor).body
		s.register(admin, openAI("Exported", upstream.URL, canary))
		whole := s.get(auditExportPath, auditor, header{"Accept": "application/x-ndjson"})
		head := s.head(auditor)
		Expect(strings.Count(whole.body, "\n")).To(BeEquivalentTo(head + 1))
		Expect(whole.body).NotTo(ContainSubstring(canary))
		said := verifies(0, "--file", kept("all.ndjson", whole.body), "--key", vkey, "--since", kept("old", old))
		Expect(said).To(And(ContainSubstring(fmt.Sprintf("acme: sound, positions 1 to %d", head)), ContainSubstring("consistent with 1 older"), ContainSubstring("not proven:\n- ")))
		part := s.get(auditExportPath+"?from=3&to=5", auditor).body
		Expect(verifies(0, "--file", kept("part.ndjson", part), "--key", vkey)).To(ContainSubstring("positions 3 to 5"))
		for _, bad := range []string{"from=3&to=2", "from=999", "to=999", "from=0"} {
			Expect(s.ask(http.MethodGet, auditExportPath+"?"+bad, auditor, nil).code()).To(Equal("invalid_parameter"), bad)
		}

		for _, command := range [][]string{{"audit", "checkpoint"}, {"audit", "key"}, {"audit", "export"}} {
			stdout, stderr, code := s.run(append(command, "--tenant", tenant)...)
			Expect(code).To(Equal(good), stderr)
			Expect(stdout).To(Equal(map[string]string{
				"checkpoint": s.get(checkpointPath, auditor).body, "key": vkey + "\n", "export": s.get(auditExportPath, auditor).body,
			}[command[1]]), "the same as the API's")
		}
		file := filepath.Join(GinkgoT().TempDir(), "written.ndjson")
		_, stderr, code := s.run("audit", "export", "--tenant", tenant, "--from", "2", "-o", file)
		Expect(code).To(Equal(good), stderr)
		Expect(verifies(0, "--file", file, "--key", vkey)).To(ContainSubstring("positions 2 to"))
	})

	It("verifies files with exit codes that a script can act on", func() {
		text := s.get(auditExportPath, auditor).body
		file := kept("all.ndjson", text)
		tampered := kept("tampered.ndjson", strings.Replace(text, "Signed 1", "Signed 7", 1))
		Expect(verifies(1, "--file", tampered, "--key", vkey)).To(MatchRegexp(`TAMPERED, first bad position \d+: `))
		Expect(verifies(2, "--file", kept("cut.ndjson", text[:len(text)/2]), "--key", vkey)).To(ContainSubstring("INCOMPLETE"))
		for _, mistake := range [][]string{
			{"--file", file},
			{"--key", vkey},
			{"--file", file, "--key", "x"},
			{"--file", "/nonexistent", "--key", vkey},
			{"--file", file, "--key", vkey, "--since", "/nonexistent"},
			{"--file", file, "--key", vkey, "--since", file},
			{"--file", file, "--key", vkey, "--tenant", tenant},
			{"--bogus"},
			{"extra"},
		} {
			Expect(verifies(3, mistake...)).To(HavePrefix("archon: "), fmt.Sprint(mistake))
		}
		for _, mistake := range [][]string{{"audit", "export"}, {"audit", "checkpoint"}, {"audit", "key", "--bogus"}} {
			_, stderr, code := s.inProcess(mistake...)
			Expect(code).To(Equal(usage), stderr)
		}
	})

	It("is not signed once it contradicts what was signed, and says so everywhere", func() {
		signed := s.get(checkpointPath, auditor).body
		ctx, conn := s.asSuperuser()
		for _, sql := range []string{
			`set session_replication_role = replica`,
			`update chain_heads set position = position - 1, hash = (select prev_hash from events e where e.tenant_id = 'acme' order by position desc limit 1) where tenant_id = 'acme'`,
			`delete from events where tenant_id = 'acme' and position = (select max(position) from events where tenant_id = 'acme')`,
			`delete from audit_tiles where tenant_id = 'acme'`, `delete from audit_trees where tenant_id = 'acme'`, `delete from audit_checkpoints where tenant_id = 'acme'`,
		} {
			_, err := conn.Exec(ctx, sql)
			Expect(err).NotTo(HaveOccurred())
		}
		size := noteOf(vkey, signed).Size
		for _, path := range []string{checkpointPath, auditPath + "/proof/1", consistencyPath, auditExportPath} {
			r := s.ask(http.MethodGet, path, auditor, nil)
			Expect(r.status).To(Equal(http.StatusConflict), path+r.body)
			code, details := r.failure()
			Expect(code).To(Equal("checkpoint_refused"))
			Expect(details).To(And(HaveKeyWithValue("signed_size", float64(size)), HaveKeyWithValue("reason", ContainSubstring("events were lost"))))
		}
		Expect(s.faults()).To(ContainSubstring("contradicts what was signed"))
		Expect(s.must(http.MethodGet, "/metrics", "", nil).body).To(MatchRegexp(`archon_audit_checkpoints_refused_total [1-9]`))
		Eventually(s.stateOfHealth("audit")).WithTimeout(bound).Should(ContainSubstring("degraded"))
		_, stderr, code := s.run("audit", "checkpoint", "--tenant", tenant)
		Expect(code).To(Equal(failed))
		Expect(stderr).To(ContainSubstring("is not signed"))
	})

	It("is signed as another incarnation once an operator has declared the restored backup", func() {
		_, stderr, code := s.run("audit", "incarnate", "--tenant", tenant)
		Expect(code).To(Equal(usage))
		Expect(stderr).To(ContainSubstring("--reason"))
		stdout, stderr, code := s.run("audit", "incarnate", "--tenant", tenant, "--reason", "the disk was lost")
		Expect(code).To(Equal(good), stderr)
		Expect(stdout).To(ContainSubstring("acme: incarnation 2; no checkpoint is known to have survived"))
		key, _ := s.get(auditKeyPath, auditor).data()["key"].(string)
		Expect(noteOf(key, s.get(checkpointPath, auditor).body).Origin).To(Equal("archon/" + tenant + "/2"))
		Eventually(s.stateOfHealth("audit")).WithTimeout(bound).ShouldNot(ContainSubstring("degraded"))
		exported := s.get(auditExportPath, auditor).body
		Expect(verifies(0, "--file", kept("incarnated.ndjson", exported), "--key", key)).To(ContainSubstring("archon/acme/2"))
		Expect(exported).To(And(ContainSubstring(`"type":"audit.incarnated.v1"`), ContainSubstring(`\"reason\":\"the disk was lost\"`)))
		_, stderr, code = s.run("audit", "incarnate", "--tenant", tenant, "--reason", "again")
		Expect(code).To(Equal(failed))
		Expect(stderr).To(ContainSubstring("continues what was signed"))
	})
})

var _ = Describe("The log of all logs", Label("e2e"), func() {
	It("records every hour what all tenants' logs are, in a log that is signed in the background, anchored, and that no token reaches", func() {
		anchors := GinkgoT().TempDir()
		place := install("ARCHON_ANCHOR_DIR=" + anchors)
		s := surfaceOf(place.start())
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		for _, tenant := range []string{"acme", "globex"} {
			s.register(s.token(tenant, "ada", "admin"), openAI("One", upstream.URL, canary))
		}
		ctx, conn := s.asSuperuser()
		_, err := conn.Exec(ctx, `update chain_heads set created_at = created_at - interval '2 hours'`)
		Expect(err).NotTo(HaveOccurred())
		const background = 90 * time.Second // a round is every half minute
		Eventually(func() ([]string, error) {
			rows, err := conn.Query(ctx, `select distinct tenant_id from audit_checkpoints order by 1`)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowTo[string])
		}).WithTimeout(background).WithPolling(time.Second).Should(ConsistOf("_archon", "acme", "globex"), "nobody asked for them")
		for _, tenant := range []string{"_archon", "acme", "globex"} {
			Eventually(func() ([]string, error) { return filepath.Glob(filepath.Join(anchors, "archon", tenant, "1", "*")) }).WithTimeout(bound).Should(HaveLen(1))
			Eventually(func() int {
				return one[int](ctx, conn, `select count(*) from events where tenant_id = $1 and type = 'audit.anchored.v1'`, tenant)
			}).WithTimeout(bound).Should(Equal(1), "the receipt is an event")
		}
		stdout, stderr, code := s.run("audit", "export", "--tenant", "_archon")
		Expect(code).To(Equal(good), stderr)
		Expect(stdout).To(And(ContainSubstring(`"type":"audit.roots_recorded.v1"`), MatchRegexp(`\{\\"tenant\\":\\"acme\\",\\"size\\":[1-9]\d*,\\"root\\":\\"[0-9a-f]{64}\\"`), ContainSubstring(`{\"tenant\":\"globex\",`), Not(ContainSubstring(`{\"tenant\":\"_archon\"`))))
		key, _, _ := s.run("audit", "key", "--tenant", "_archon")
		file := filepath.Join(GinkgoT().TempDir(), "all.ndjson")
		Expect(os.WriteFile(file, []byte(stdout), 0o600)).To(Succeed())
		said, stderr, code := s.inProcess("audit", "verify", "--file", file, "--key", strings.TrimSpace(key))
		Expect(code).To(Equal(good), said+stderr)
		_, stderr, code = s.inProcess("token", "--tenant", "_archon", "--user", "eve", "--role", "auditor")
		Expect(code).To(Equal(usage), stderr)
	})
})
