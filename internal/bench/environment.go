package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// settings are those that decide what a commit costs.
const settings = `fsync synchronous_commit full_page_writes wal_compression wal_level shared_buffers max_wal_size wal_buffers commit_delay`

// Environment tells on what the figures were measured; it is the first line of every run.
type Environment struct {
	Bench      string            `json:"bench"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	OS         string            `json:"os"`
	Go         string            `json:"go"`
	PostgreSQL string            `json:"postgresql"`
	Settings   map[string]string `json:"settings"`
	Rounds     int               `json:"rounds"`
	Seconds    float64           `json:"seconds,omitempty"`
	Events     int               `json:"events,omitempty"`
	Rows       int               `json:"rows,omitempty"`
	PoolSize   int               `json:"pool_size,omitempty"`
	// Load is the machine's load average of the minute before, where the system tells it.
	Load float64 `json:"load,omitempty"`
}

func (s *Scratch) environment(ctx context.Context) (Environment, error) {
	return describe(ctx, s.DSN())
}

// describe tells of this machine and the server of dsn.
func describe(ctx context.Context, dsn string) (Environment, error) {
	e := Environment{
		Bench: "environment", CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Settings: map[string]string{},
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return Environment{}, fmt.Errorf("connect as the owner: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, "select version()").Scan(&e.PostgreSQL); err != nil {
		return Environment{}, fmt.Errorf("read the server's version: %w", err)
	}
	for name := range strings.FieldsSeq(settings) {
		var value string
		if err := conn.QueryRow(ctx, "select current_setting($1)", name).Scan(&value); err != nil {
			return Environment{}, fmt.Errorf("read setting %s: %w", name, err)
		}
		e.Settings[name] = value
	}
	return e, nil
}

// cpuModel is the processor's name where the system tells it.
func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// loadAverage is that of the last minute, 0 where the system does not tell.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
