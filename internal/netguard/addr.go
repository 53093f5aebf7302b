package netguard

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
)

// Policy says which addresses may be called. The zero value allows public
// unicast addresses only. It is a value: copy it freely, don't change the slice
// afterwards.
type Policy struct {
	// Allowed are ranges that may be called although they are not public
	// (loopback, private networks …). IPv4 ranges are written as IPv4, never as
	// IPv4-mapped IPv6. Link-local, multicast, broadcast and cloud metadata
	// addresses stay refused even inside an allowed range.
	Allowed []netip.Prefix
}

// CheckAddr returns nil where the policy allows a connection to addr, else a
// [*Refusal]. An IPv6 address that carries an IPv4 address (mapped, compatible,
// translated, NAT64, 6to4, Teredo) is judged by the IPv4 address inside, since
// that is where packets may end up.
func (p Policy) CheckAddr(addr netip.Addr) error {
	if !addr.IsValid() {
		return refuse("not an IP address")
	}

	addr = addr.WithZone("")
	if inner := embedded(addr); len(inner) > 0 {
		for _, v4 := range inner {
			if err := p.CheckAddr(v4); err != nil {
				return err
			}
		}

		return nil
	}

	if reason := lookup(neverAllowed(), addr); reason != "" {
		return refuse(reason)
	}

	if slices.ContainsFunc(p.Allowed, func(allowed netip.Prefix) bool { return allowed.Contains(addr) }) {
		return nil
	}

	if reason := lookup(notPublic(), addr); reason != "" {
		return refuse(reason)
	}

	if addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr) {
		return refuse("an address outside the public range, which is not allowed here")
	}

	return nil
}

// Control is a net.Dialer.Control: it refuses a connection before its first
// packet, on the resolved address. Use it for dialers other than [NewClient]'s.
func (p Policy) Control(network, address string, _ syscall.RawConn) error {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return refuse("not a TCP address")
	}

	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse("not an IP address")
	}

	return p.CheckAddr(target.Addr())
}

// block is an address range and how a refusal names it.
type block struct {
	prefix netip.Prefix
	reason string
}

func lookup(blocks []block, addr netip.Addr) string {
	for _, candidate := range blocks {
		if candidate.prefix.Contains(addr) {
			return candidate.reason
		}
	}

	return ""
}

func blocks(reason string, prefixes ...string) []block {
	list := make([]block, 0, len(prefixes))
	for _, prefix := range prefixes {
		list = append(list, block{netip.MustParsePrefix(prefix), reason})
	}

	return list
}

// neverAllowed are ranges that no configuration opens: they hold credentials of
// the machine itself, or are not one host.
func neverAllowed() []block {
	return slices.Concat(
		blocks("a cloud metadata address, which is never allowed",
			"169.254.169.254/32", // AWS, Azure, Google, Oracle, DigitalOcean …
			"169.254.170.0/24",   // AWS task and pod credentials
			"100.100.100.200/32", // Alibaba
			"192.0.0.192/32",     // Oracle classic
			"168.63.129.16/32",   // Azure's wire server, a public address
			"fd00:ec2::/32",      // AWS over IPv6
			"fd20:ce::254/128",   // Google over IPv6
			"fd00:42::42/128",    // Scaleway over IPv6
		),
		blocks("a link-local address, which is never allowed", "169.254.0.0/16", "fe80::/10"),
		blocks("a multicast address, which is never allowed", "224.0.0.0/4", "ff00::/8"),
		blocks("a broadcast address, which is never allowed", "255.255.255.255/32"),
	)
}

// notPublic are the ranges of the IANA special-purpose registries that are not
// globally reachable; [Policy.Allowed] may open them.
func notPublic() []block {
	return slices.Concat(
		blocks("a loopback address, which is not allowed here", "127.0.0.0/8", "::1/128"),
		blocks("a private address, which is not allowed here",
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
		blocks("a shared (carrier-grade NAT) address, which is not allowed here", "100.64.0.0/10"),
		blocks("an unspecified address, which is not allowed here", "0.0.0.0/8", "::/128"),
		blocks("a benchmark address, which is not allowed here", "198.18.0.0/15", "2001:2::/48"),
		blocks("a documentation address, which is not allowed here",
			"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
		blocks("a reserved address, which is not allowed here",
			"192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23", "64:ff9b:1::/48", "100::/64", "5f00::/16"),
	)
}

// embedded returns the IPv4 addresses that an IPv6 address stands for, or nil.
func embedded(addr netip.Addr) []netip.Addr {
	if addr.Is4In6() {
		return []netip.Addr{addr.Unmap()}
	}

	if addr.Is4() || addr == netip.IPv6Loopback() || addr == netip.IPv6Unspecified() {
		return nil
	}

	raw := addr.As16()

	const (
		sixToFourAt    = 2  // 2002:AABB:CCDD::/48
		teredoServerAt = 4  // 2001:0:server:flags:port:client
		lastQuadAt     = 12 // the low 32 bits
		asIs           = uint32(0)
	)

	switch {
	case inAny(addr, "::/96", "::ffff:0:0:0/96", "64:ff9b::/96"):
		return []netip.Addr{quadAt(raw, lastQuadAt, asIs)}
	case inAny(addr, "2002::/16"):
		return []netip.Addr{quadAt(raw, sixToFourAt, asIs)}
	case inAny(addr, "2001::/32"):
		// The client's address is stored with every bit flipped.
		return []netip.Addr{quadAt(raw, teredoServerAt, asIs), quadAt(raw, lastQuadAt, ^asIs)}
	default:
		return nil
	}
}

func inAny(addr netip.Addr, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return netip.MustParsePrefix(prefix).Contains(addr)
	})
}

func quadAt(raw [16]byte, offset int, flip uint32) netip.Addr {
	var quad [4]byte

	binary.BigEndian.PutUint32(quad[:], binary.BigEndian.Uint32(raw[offset:])^flip)

	return netip.AddrFrom4(quad)
}
