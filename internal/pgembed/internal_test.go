package pgembed

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/pgembed/filelock"
)

func TestParsePidFile(t *testing.T) {
	t.Parallel()
	const running = "4711\n/data/postgres\n1700000000\n25432\n\n127.0.0.1\n  1234  5678\nready   \n"
	for name, test := range map[string]struct {
		text string
		want pidRecord
		ok   bool
	}{
		"a running server":        {running, pidRecord{4711, 25432}, true},
		"single-user mode":        {"-4711\n/data\n", pidRecord{4711, 0}, true},
		"the first line alone":    {"4711", pidRecord{4711, 0}, true},
		"a port that is none":     {"4711\na\nb\nc\n", pidRecord{4711, 0}, true},
		"empty":                   {"", pidRecord{}, false},
		"not a number":            {"x\n", pidRecord{}, false},
		"the process group":       {"0\n", pidRecord{}, false},
		"the init process":        {"1\n", pidRecord{}, false},
		"every process there is":  {"-1\n", pidRecord{}, false},
		"larger than any integer": {"99999999999999999999\n", pidRecord{}, false},
	} {
		got, ok := parsePidFile(test.text)
		if got != test.want || ok != test.ok {
			t.Errorf("%s: got %v, %v; want %v, %v", name, got, ok, test.want, test.ok)
		}
	}
}

func FuzzParsePidFile(f *testing.F) {
	f.Add("4711\n/data/postgres\n1700000000\n25432\n\n127.0.0.1\n  1234  5678\nready   \n")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, text string) {
		// Signalling 0, 1 or a negative number would hit other processes.
		if record, ok := parsePidFile(text); ok && record.pid <= 1 {
			t.Errorf("pid %d of %q", record.pid, text)
		}
	})
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 17beta1\n":                        17,
		"postgres (PostgreSQL) 19devel\n":                        19,
		"postgres (PostgreSQL) 9.6.24\n":                         9,
		"postgres (PostgreSQL)\n":                                0,
		"postgres (EnterpriseDB) 15.1\n":                         0,
		"":                                                       0,
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestBoundLogKeepsTheDescriptorOfTheServer(t *testing.T) {
	t.Parallel()
	p := place{dir: t.TempDir()}
	log, err := openLog(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	write := func(text string) {
		t.Helper()
		if _, err := log.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 100
	write("short\n")
	if err := p.boundLog(limit); err != nil {
		t.Fatal(err)
	}
	assertContent(t, filepath.Join(p.dir, logFile), "short\n")

	long := strings.Repeat("x", limit)
	write(long)
	if err := p.boundLog(limit); err != nil {
		t.Fatal(err)
	}
	write("after\n")
	assertContent(t, filepath.Join(p.dir, logFile), "after\n")
	assertContent(t, filepath.Join(p.dir, logFile+".1"), "short\n"+long)
}

func TestTrimLogLeavesTheWorkToTheHolderOfTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	c := &Cluster{
		cfg: Config{Log: slog.New(slog.DiscardHandler)}, place: place{dir: dir},
		starting: mustLock(t, filepath.Join(dir, startLockFile)),
	}
	if err := os.WriteFile(path, make([]byte, logLimitBytes+1), privateMode); err != nil {
		t.Fatal(err)
	}
	other := mustLock(t, filepath.Join(dir, startLockFile))
	if err := other.Take(t.Context(), filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	c.trimLog(t.Context())
	if size := c.place.logSize(); size != logLimitBytes+1 {
		t.Errorf("trimmed to %d bytes without the lock", size)
	}
	other.Unlock()
	c.trimLog(t.Context())
	if size := c.place.logSize(); size != 0 {
		t.Errorf("still %d bytes", size)
	}
	if err := other.Take(t.Context(), filelock.Exclusive); err != nil {
		t.Errorf("the lock was not given back: %v", err)
	}
}

func TestBoundLogDoesNotFollowLinks(t *testing.T) {
	t.Parallel()
	p := place{dir: t.TempDir()}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), privateMode); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(p.dir, logFile)); err != nil {
		t.Fatal(err)
	}
	if err := p.boundLog(1); err == nil {
		t.Error("a link in the place of the log was followed")
	}
	if _, err := openLog(p); err == nil {
		t.Error("a link in the place of the log was opened")
	}
	assertContent(t, victim, "precious")
}

func TestLogTail(t *testing.T) {
	t.Parallel()
	p := place{dir: t.TempDir()}
	if got := p.logTail(0); got != "" {
		t.Errorf("without a log: %q", got)
	}
	text := "old\n" + strings.Repeat("y", 3*logTailBytes) + "\nlast words\n"
	if err := os.WriteFile(filepath.Join(p.dir, logFile), []byte(text), privateMode); err != nil {
		t.Fatal(err)
	}
	if got := p.logTail(0); !strings.HasSuffix(got, "last words") || len(got) > logTailBytes {
		t.Errorf("got %d bytes that end in %q", len(got), got[max(0, len(got)-20):])
	}
	if got := p.logTail(int64(len(text) - len("last words\n"))); got != "last words" {
		t.Errorf("since an offset: %q", got)
	}
	if got := p.logTail(int64(len(text) + 1)); got != "" {
		t.Errorf("since beyond the end: %q", got)
	}
}

func TestReplaceFileLeavesTheOldOneWhenItFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := replaceFile(path, []byte("old"), nil); err != nil {
		t.Fatal(err)
	}
	err := replaceFile(path, []byte("new"), func(string) error { return os.ErrPermission })
	if err == nil {
		t.Error("the error was lost")
	}
	assertContent(t, path, "old")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestIsPostmasterByPs(t *testing.T) {
	t.Parallel()
	if isPostmasterByPs(os.Getpid(), "/data") {
		t.Error("the test itself is not a server")
	}
}

func mustLock(t *testing.T, path string) *filelock.Lock {
	t.Helper()
	lock, err := filelock.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lock.Close)
	return lock
}

func assertContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
	}
}
