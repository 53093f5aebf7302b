package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// Bounds of settings; a value outside is far more likely a slip of the unit than a wish.
const (
	minWait            = time.Second
	maxShutdownTimeout = 10 * time.Minute
	maxReadYourWrites  = time.Minute
	minProbeInterval   = time.Second
	maxProbeInterval   = 24 * time.Hour
	minCallTimeout     = 100 * time.Millisecond
	maxCallTimeout     = time.Hour
	maxDefaultTokens   = 1_000_000
	maxDatabaseConns   = 1000
	maxSockets         = 1_000_000

	maxPort      = 65535
	maxNameBytes = 63
	maxTextBytes = 255
)

// problem is what is wrong with a value and how to mend it. It continues a sentence that starts with the
// variable's name, has no full stop, and never quotes a value that may hold a secret.
type problem string

func (p problem) Error() string { return string(p) }

func problemf(format string, args ...any) problem { return problem(fmt.Sprintf(format, args...)) }

// into makes a row's parse function of where the value goes and how it is read.
func into[T any](field func(*Config) *T, parse func(string) (T, error)) func(*Config, string) error {
	return func(c *Config, raw string) error {
		value, err := parse(raw)
		if err != nil {
			return err
		}

		*field(c) = value

		return nil
	}
}

func parseHostPort(raw string) (string, error) {
	if strings.Contains(raw, "://") {
		return "", problem("is a URL; write only host:port, for example localhost:8080")
	}

	host, port, err := net.SplitHostPort(raw)
	if err != nil {
		return "", problem("isn't of the form host:port; write for example localhost:8080, :8080 or [::1]:8080")
	}

	if n, err := strconv.ParseUint(port, 10, 32); err != nil || n > maxPort {
		return "", problemf("has the port %q; write a number from 0 to %d", port, maxPort)
	}

	if !isHost(host) {
		return "", problemf("has the host %q; write a host name, an IP address, or nothing for all interfaces", host)
	}

	return raw, nil
}

// isHost accepts what may be listened on: nothing, an address (with a zone), or a name.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}

	return strings.Trim(host, alphanumeric+".-_") == "" && len(host) <= maxTextBytes
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func parseName(raw string) (string, error) {
	if len(raw) > maxNameBytes || strings.Trim(raw, alphanumeric+".-_") != "" {
		return "", problemf("may hold only letters, digits, '.', '-' and '_', at most %d of them; shorten or rename it", maxNameBytes)
	}

	return raw, nil
}

func parseCIDRs(raw string) ([]netip.Prefix, error) {
	var all []netip.Prefix

	for part := range strings.SplitSeq(raw, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}

		one, err := parseCIDR(part)
		if err != nil {
			return nil, err
		}

		all = append(all, one)
	}

	return all, nil
}

// parseCIDR also takes a bare address, as the network of just that address.
func parseCIDR(part string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(part)
	if addr, addrErr := netip.ParseAddr(part); addrErr == nil && addr.Zone() == "" {
		network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}

	if err != nil {
		return netip.Prefix{}, problemf("has the entry %q, which is neither a network nor an address; separate entries by commas and write each like 10.0.0.0/8 or 192.168.7.4", part)
	}

	// An IPv4 address that is looked up never matches a mapped network, so that entry would silently do nothing.
	if network.Addr().Is4In6() {
		return netip.Prefix{}, problemf("has the entry %q, an IPv4 network in IPv6 notation; write it as IPv4, for example 10.0.0.0/8", part)
	}

	return network.Masked(), nil
}

func durationBetween(low, high time.Duration) func(string) (time.Duration, error) {
	return func(raw string) (time.Duration, error) {
		value, err := time.ParseDuration(raw)
		if err != nil {
			if _, numErr := strconv.ParseFloat(raw, 64); numErr == nil {
				return 0, problemf("is %q, a number without a unit; write for example %ss or %sms", raw, raw, raw)
			}

			return 0, problemf("is %q, which isn't a length of time; write for example 500ms, 20s or 5m", raw)
		}

		if value < low || value > high {
			return 0, problemf("is %s; choose a time from %s to %s", value, low, high)
		}

		return value, nil
	}
}

func intBetween(low, high int32) func(string) (int32, error) {
	return func(raw string) (int32, error) {
		value, err := strconv.ParseInt(raw, 10, 32)
		if err != nil || value < int64(low) || value > int64(high) {
			return 0, problemf("is %q; write a whole number from %d to %d", raw, low, high)
		}

		return int32(value), nil
	}
}

// parsePostgres checks a connection string with the driver's own parser. Its error is not passed on: it may
// quote parts of the string.
func parsePostgres(raw string) (Secret, error) {
	isURL := strings.HasPrefix(raw, "postgres://") || strings.HasPrefix(raw, "postgresql://")

	// The driver takes any text with a "=" for keywords, a URL of another database included.
	if strings.Contains(raw, "://") && !isURL {
		return "", problem("is a URL of another kind; it must start with postgres://")
	}

	if _, err := pgxpool.ParseConfig(raw); err != nil {
		return "", problem("isn't a connection string that the PostgreSQL driver understands; write postgres://user:password@host:5432/database, " +
			"percent-encode special characters of the password, and check sslmode and files that it names")
	}

	return Secret(raw), nil
}

func parseRedis(raw string) (Secret, error) {
	if _, err := redis.ParseURL(raw); err != nil {
		return "", problem("isn't a URL of a Redis server; write redis://:password@host:6379/0, or rediss:// for TLS, " +
			"and percent-encode special characters of the password")
	}

	return Secret(raw), nil
}

// parseHTTPURL never quotes the value, because people put credentials into URLs.
func parseHTTPURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return "", problem("isn't a web address; write a URL that starts with https:// or http:// and names a host")
	}

	if n, err := strconv.ParseUint(u.Port(), 10, 32); u.Port() != "" && (err != nil || n == 0 || n > maxPort) {
		return "", problemf("has a port outside 1 to %d; mend the number after the host", maxPort)
	}

	if u.User != nil {
		return "", problem("holds a user name or password; remove everything between // and @")
	}

	if strings.ContainsAny(raw, "?#") {
		return "", problem("has a query or a fragment; remove what starts at '?' or '#'")
	}

	return strings.TrimRight(raw, "/"), nil
}

// parseOrigins takes each in the form in which browsers send it.
func parseOrigins(raw string) ([]string, error) {
	var all []string

	for part := range strings.SplitSeq(raw, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}

		origin, err := parseHTTPURL(part)
		if err != nil {
			return nil, err
		}

		if u, err := url.Parse(origin); err != nil || u.Path != "" {
			return nil, problem("has a path; an origin is scheme://host[:port] alone, as in https://console.example.com")
		}

		all = append(all, strings.ToLower(origin))
	}

	return all, nil
}

// parseIssuer keeps the URL byte for byte: it is compared with `iss`, where a trailing slash counts.
func parseIssuer(raw string) (string, error) {
	if _, err := parseHTTPURL(raw); err != nil {
		return "", err
	}

	return raw, nil
}

// parseToken refuses what HTTP can't carry in a header, the way Vault takes tokens.
func parseToken(raw string) (Secret, error) {
	if !isPrintable(raw) {
		return "", problem("holds a space, a line break or another character that it can't have; copy it again without what surrounds it")
	}

	return Secret(raw), nil
}

func parsePrintable(raw string) (string, error) {
	if len(raw) > maxTextBytes || !isPrintable(raw) {
		return "", problemf("must be 1 to %d printable ASCII characters without spaces; copy it again", maxTextBytes)
	}

	return raw, nil
}

func parseClaim(raw string) (string, error) {
	if strings.HasPrefix(raw, ".") || strings.HasSuffix(raw, ".") || strings.Contains(raw, "..") {
		return "", problemf("is %q, in which a name between dots is missing; write for example roles or realm_access.roles", raw)
	}

	return parsePrintable(raw)
}

// isPrintable says whether s is ASCII without spaces and control characters.
func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func parseVaultPath(raw string) (string, error) {
	path := strings.Trim(raw, "/")
	if path == "" || strings.Trim(path, alphanumeric+"-_/") != "" || strings.Contains(path, "//") {
		return "", problemf("is %q; write a path of letters, digits, '-', '_' and single slashes, for example secret", raw)
	}

	return path, nil
}

func parsePath(raw string) (string, error) {
	if strings.ContainsRune(raw, 0) {
		return "", problem("holds a NUL byte; write a path")
	}

	path, err := filepath.Abs(raw)
	if err != nil {
		return "", problem("is a relative path, and the working directory can't be told; write it from the root")
	}

	return path, nil
}

// pathUnder also expands "~/", which no shell does in a service's environment file: without it a folder named
// "~" would be made.
func pathUnder(env environment) func(string) (string, error) {
	return func(raw string) (string, error) {
		rest, ok := strings.CutPrefix(raw, "~/")
		if !ok {
			return parsePath(raw)
		}

		if env["HOME"] == "" {
			return "", problem("starts with ~/, and HOME isn't set; write the path from the root")
		}

		return parsePath(filepath.Join(env["HOME"], rest))
	}
}

func parseLogLevel(raw string) (slog.Level, error) {
	switch strings.ToLower(raw) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, problemf("is %q; choose debug, info, warn or error", raw)
	}
}

func parseLogFormat(raw string) (LogFormat, error) {
	switch format := LogFormat(strings.ToLower(raw)); format {
	case LogFormatText, LogFormatJSON:
		return format, nil
	case LogFormatUnset:
	}

	return "", problemf("is %q; choose text or json", raw)
}
