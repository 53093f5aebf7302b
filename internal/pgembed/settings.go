package pgembed

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

// settingsFile is included by the cluster's postgresql.conf and written anew at each start.
const settingsFile = "archon.conf"

// baseSettings are the same for every cluster. The first group keeps the promises of the log: an acknowledged write is on disk.
func baseSettings() map[string]string {
	return map[string]string{
		"fsync":              "on",
		"synchronous_commit": "on",
		"full_page_writes":   "on",

		"listen_addresses":        loopback.Host,
		"unix_socket_directories": "",
		"max_connections":         "120",

		"shared_buffers": "128MB",
		// Appends write steadily: rare checkpoints write each page once instead of many times, and a recycled segment needs no zeroing.
		"max_wal_size":       "2GB",
		"min_wal_size":       "512MB",
		"checkpoint_timeout": "15min",
		"wal_buffers":        "16MB",
		// Compiling a statement costs more than all of ours take.
		"jit": "off",

		"timezone":         "UTC",
		"log_timezone":     "UTC",
		"log_destination":  "stderr",
		"log_line_prefix":  "%m [%p] ",
		"log_min_messages": "warning",
		// The log must not repeat data: neither a refused row (verbose details) nor the text of a refused statement, which for "alter role"
		// holds a password.
		"log_error_verbosity":     "terse",
		"log_min_error_statement": "panic",
		"cluster_name":            "archon",
	}
}

// writeSettings replaces archon.conf for a server on the given port.
func (p place) writeSettings(port int, walCompression string, cfg Config) error {
	settings := baseSettings()
	settings["port"] = strconv.Itoa(port)
	settings["wal_compression"] = walCompression
	maps.Copy(settings, cfg.ExtraSettings)
	text, err := renderSettings(settings)
	if err != nil {
		return err
	}
	// For whoever wonders which of the clusters in Config.ClustersDir are still needed.
	text = fmt.Sprintf("# The cluster of the data folder %q.\n%s", cfg.DataDir, text)
	return replaceFile(filepath.Join(p.dir, settingsFile), []byte(text), p.account.own)
}

// renderSettings writes settings as postgresql.conf takes them, in a stable order.
func renderSettings(settings map[string]string) (string, error) {
	var text strings.Builder
	text.WriteString("# Written by Archon at every start of the server. Settings of your own belong into postgresql.auto.conf (alter system).\n")
	name := regexp.MustCompile(`^[a-z_][a-z0-9_.]*$`)
	quote := strings.NewReplacer(`\`, `\\`, `'`, `''`)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		value := settings[key]
		if !name.MatchString(key) || strings.ContainsAny(value, "\x00\r\n") {
			return "", fmt.Errorf("%w: %q = %q", ErrBadSetting, key, value)
		}
		fmt.Fprintf(&text, "%s = '%s'\n", key, quote.Replace(value))
	}
	return text.String(), nil
}

// walCompression returns the cheapest compression of full-page images that the server was built with: lz4 or none (pglz costs more time
// than it saves). It needs a cluster whose server is down.
func (p place) walCompression(ctx context.Context) string {
	const best = "lz4"
	cmd := p.account.command(ctx, filepath.Join(p.bin, "postgres"), "-D", p.dir, "-c", "wal_compression="+best, "-C", "wal_compression")
	cmd.Dir = p.dir
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != best {
		return "off"
	}
	return best
}
