package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// children lists the ids of the processes that parent started and that still run: from /proc where there is one (Linux,
// also without procps), else from ps.
func children(parent int) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	if len(files) == 0 {
		return childrenByPS(parent)
	}

	var found []int

	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // ended since the listing
		}

		pid, ppid, ok := parseStat(string(data))
		if ok && ppid == parent {
			found = append(found, pid)
		}
	}

	return found
}

// parseStat reads "pid (name) state ppid …". The name may itself contain spaces and parentheses.
func parseStat(line string) (pid, ppid int, ok bool) {
	first, rest, found := strings.Cut(line, " (")
	end := strings.LastIndex(rest, ")")

	if !found || end < 0 {
		return 0, 0, false
	}

	fields := strings.Fields(rest[end+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}

	pid, errPID := strconv.Atoi(first)
	ppid, errPPID := strconv.Atoi(fields[1])

	return pid, ppid, errPID == nil && errPPID == nil
}

func childrenByPS(parent int) []int {
	listing, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}

	return parsePS(string(listing), parent)
}

// parsePS reads lines of "pid ppid".
func parsePS(listing string, parent int) []int {
	var found []int

	for line := range strings.Lines(listing) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}

		pid, err := strconv.Atoi(fields[0])
		if err == nil {
			found = append(found, pid)
		}
	}

	return found
}
