package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 30 * time.Second
	// drained is the exit code of the program that the tests run, so that a killed one can't be mistaken for it.
	drained = 42
)

// TestMain is also the program that a task starts: it says that it is ready, waits for a signal, and says which came.
func TestMain(m *testing.M) {
	if os.Getenv("TASK_TEST_PROGRAM") == "" {
		os.Exit(buildAndRun(m))
	}

	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	fmt.Println("ready")
	fmt.Println("got", <-received)
	os.Exit(drained)
}

// program is this package's program, built once.
var program string

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "task-test-")
	if err != nil {
		panic(err)
	}

	defer func() { _ = os.RemoveAll(dir) }()

	program = filepath.Join(dir, "task")

	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}

	return m.Run()
}

func TestSignalsReachTheProgramAndItsExitCodeComesBack(t *testing.T) {
	t.Parallel()

	for _, sent := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sent.String(), func(t *testing.T) {
			t.Parallel()

			command := taskCommand(t, "wait")
			lines := start(t, command)

			err := command.Process.Signal(sent)
			if err != nil {
				t.Fatal(err)
			}

			expectLine(t, lines, "got "+sent.String())

			var exit *exec.ExitError
			if err = command.Wait(); !errors.As(err, &exit) || exit.ExitCode() != drained {
				t.Errorf("exit: %v, want code %d", err, drained)
			}
		})
	}
}

// `go tool` that is killed leaves its child behind; the program must not run on without anybody knowing.
func TestProgramIsStoppedWhenTheParentIsKilled(t *testing.T) {
	t.Parallel()

	direct := taskCommand(t, "wait")
	// Two commands, so that the shell stays as the parent instead of becoming the first one.
	parent := exec.Command("sh", "-c", `"$0" wait; :`, direct.Path)
	parent.Dir, parent.Env, parent.SysProcAttr = direct.Dir, direct.Env, direct.SysProcAttr

	lines := start(t, parent)

	err := parent.Process.Kill()
	if err != nil {
		t.Fatal(err)
	}

	expectLine(t, lines, "got terminated")

	_ = parent.Wait() // killed, as asked
}

func TestTargetsAreListedAndGetTheirArguments(t *testing.T) {
	t.Parallel()

	out, err := taskCommand(t).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "* echo:") {
		t.Errorf("no target: want the list, got %v\n%s", err, out)
	}

	out, err = taskCommand(t, "-s", "echo", "NAME=x y", "--", "a b", "--flag").CombinedOutput()
	if err != nil || string(out) != "x y,a b,--flag\n" {
		t.Errorf("arguments: got %v, %q", err, out)
	}
}

func TestExitCodesTellAFailedProgramFromAMissingTarget(t *testing.T) {
	t.Parallel()

	for target, want := range map[string]int{"fail": 7, "nowhere": 200} {
		var exit *exec.ExitError

		out, err := taskCommand(t, target).CombinedOutput()
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%s: got %v, want code %d\n%s", target, err, want, out)
		}
	}

	if got := exitCode(errors.ErrUnsupported); got != 1 {
		t.Errorf("an error of no known kind: code %d", got)
	}
}

func TestParseStatCopesWithNames(t *testing.T) {
	t.Parallel()

	for line, want := range map[string][2]int{
		"12 (archon) S 7 12 12 0":       {12, 7},
		"13 (a) b) (c) R 8 13 13 0":     {13, 8},
		"14 (tmux: server) S 1 14 14 0": {14, 1},
	} {
		pid, ppid, ok := parseStat(line)
		if !ok || pid != want[0] || ppid != want[1] {
			t.Errorf("%q: got %d, %d, %v", line, pid, ppid, ok)
		}
	}

	for _, line := range []string{"", "12", "12 (x", "12 (x)", "12 (x) S", "a (x) S 1 2", "1 (x) S b"} {
		if _, _, ok := parseStat(line); ok {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestParsePS(t *testing.T) {
	t.Parallel()

	if got := fmt.Sprint(parsePS("    1     0\n  100    42\n  101    43\n 102 42\nx 42\n\n", 42)); got != "[100 102]" {
		t.Errorf("got %s", got)
	}
}

// taskCommand runs the program in a folder with a Taskfile for the tests.
func taskCommand(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()

	dir := t.TempDir()

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	taskfile := `version: "3"
silent: true
tasks:
  wait:
    env: { TASK_TEST_PROGRAM: "yes" }
    cmds: [ "'` + self + `'" ]
  echo:
    desc: prints its arguments
    cmds: [ "printf '%s,%s,%s\\n' '{{.NAME}}' {{.CLI_ARGS}}" ]
  fail:
    cmds: [ "exit 7" ]
`

	err = os.WriteFile(filepath.Join(dir, "Taskfile.yml"), []byte(taskfile), 0o600)
	if err != nil {
		t.Fatal(err)
	}

	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Dir = dir
	command.Env = append(os.Environ(), "NO_COLOR=1")
	// Without a terminal: Ctrl-C of one would reach the program anyway, so INT is not passed on there.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	return command
}

// start runs command until its program is ready, and returns the lines that follow.
func start(t *testing.T, command *exec.Cmd) <-chan string {
	t.Helper()

	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	command.Stderr = os.Stderr

	err = command.Start()
	if err != nil {
		t.Fatal(err)
	}

	lines := make(chan string)

	go func() {
		defer close(lines)

		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()

	expectLine(t, lines, "ready")

	return lines
}

func expectLine(t *testing.T, lines <-chan string, want string) {
	t.Helper()

	select {
	case got := <-lines:
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no %q within %v", want, patience)
	}
}
