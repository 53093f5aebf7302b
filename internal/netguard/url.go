package netguard

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxURLBytes bounds a registered URL; longer ones trouble proxies and logs.
	MaxURLBytes = 2048

	maxPort       = 65535
	maxNameBytes  = 253 // a DNS name, RFC 1035
	maxLabelBytes = 63  // one of its labels
)

// CheckURL parses a base URL at the moment it is registered. It must be
// absolute http or https with a host, and without credentials, query or
// fragment; a host that is plainly an address (in any spelling), localhost or a
// metadata service is judged right away. Other names are judged when they are
// dialled. The error is a [*Refusal], whose reason never echoes the URL.
func (p Policy) CheckURL(raw string) (*url.URL, error) {
	if err := checkText(raw); err != nil {
		return nil, err
	}

	parsed, err := url.Parse(raw)
	if err != nil {
		return nil, refuse("not a valid URL") // url.Error quotes its input
	}

	if err := checkShape(raw, parsed); err != nil {
		return nil, err
	}

	if err := checkPort(parsed); err != nil {
		return nil, err
	}

	if err := p.CheckHost(parsed.Hostname()); err != nil {
		return nil, err
	}

	return parsed, nil
}

// CheckHost judges a host as [Policy.CheckURL] does: a name (without port), an
// IPv4 address, or an IPv6 address without brackets. nil for an ordinary name
// only means that it may be tried.
func (p Policy) CheckHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return refuse("an address with a zone, which is never allowed")
		}

		return p.CheckAddr(addr)
	}

	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if err := checkName(name); err != nil {
		return err
	}

	if isMetadataName(name) {
		return refuse("a cloud metadata host, which is never allowed")
	}

	if isLocalhost(name) {
		v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
		if p.CheckAddr(v4) != nil {
			return p.CheckAddr(v6)
		}
	}

	return nil
}

// checkText refuses what no URL needs and what different parsers read differently.
func checkText(raw string) error {
	switch {
	case raw == "":
		return refuse("empty")
	case len(raw) > MaxURLBytes:
		return refuse("longer than " + strconv.Itoa(MaxURLBytes) + " bytes")
	case !utf8.ValidString(raw):
		return refuse("not valid UTF-8")
	case strings.ContainsFunc(raw, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return refuse("holds a space, line break or control character")
	case strings.Contains(raw, `\`):
		return refuse("holds a backslash")
	default:
		return nil
	}
}

func checkShape(raw string, parsed *url.URL) error {
	switch {
	case parsed.Scheme == "":
		return refuse("must begin with http:// or https://")
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return refuse("only http and https are allowed")
	case parsed.User != nil:
		return refuse("must not hold a user name or password; send credentials in their own fields")
	case parsed.Opaque != "" || parsed.Hostname() == "":
		return refuse("has no host")
	case strings.Contains(raw, "#"):
		return refuse("must not hold a fragment (#…)")
	case strings.Contains(raw, "?"):
		return refuse("must not hold a query (?…)")
	case strings.ContainsFunc(parsed.Path, unicode.IsControl):
		return refuse("holds an escaped control character")
	default:
		return nil
	}
}

func checkPort(parsed *url.URL) error {
	if strings.HasSuffix(parsed.Host, ":") {
		return refuse("has an empty port")
	}

	text := parsed.Port()
	if text == "" {
		return nil
	}

	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > maxPort {
		return refuse("the port must be between 1 and " + strconv.Itoa(maxPort))
	}

	return nil
}

// checkName allows DNS names only. Names that end in a number are addresses to
// some resolvers (2130706433, 0x7f.1, 127.1 are 127.0.0.1 to getaddrinfo), and
// full-width digits become ASCII on the way to the resolver.
func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return refuse("has no valid host name")
	}

	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxLabelBytes {
			return refuse("has no valid host name")
		}

		if strings.ContainsFunc(label, func(r rune) bool { return r > unicode.MaxASCII }) {
			return refuse("write an international host name in its ASCII form (xn--…)")
		}

		if strings.ContainsFunc(label, notHostRune) {
			return refuse("has no valid host name")
		}
	}

	if isNumber(labels[len(labels)-1]) {
		return refuse("write an IP address in its usual form (four decimal numbers, or IPv6 in brackets)")
	}

	return nil
}

func notHostRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// isNumber follows the WHATWG URL standard's "ends in a number" rule.
func isNumber(label string) bool {
	if digits, isHex := strings.CutPrefix(label, "0x"); isHex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}

	return strings.Trim(label, "0123456789") == ""
}

func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		slices.Contains([]string{"localhost.localdomain", "ip6-localhost", "ip6-loopback"}, name)
}

func isMetadataName(name string) bool {
	return slices.Contains([]string{
		"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal",
		"metadata.platformequinix.com", "metadata.packet.net", "metadata.tencentyun.com",
		"instance-data", "instance-data.ec2.internal", "rancher-metadata",
	}, name)
}
