// Package oidcdev is the OpenID Connect issuer that Archon carries with it, for `archon dev`.
//
// Its invariant: the signing keys and the issuer's URL live in one file, which is only ever replaced as a whole and
// under a lock. So they survive restarts and crashes, processes that share a data folder agree on them, and a token
// that [Issuer.Token] returned is one that package auth accepts.
package oidcdev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/archonhq/archon/internal/auth"
)

// Config says where an issuer lives.
type Config struct {
	// Dir is the folder of the key file; it is made where it is missing.
	Dir string
	// URL is the issuer's URL, such as http://localhost:8080/oidc. It counts only for the first [Open] of a folder: later
	// ones find the URL that tokens were issued under.
	URL string
	// TenantClaim, RolesClaim and DepartmentClaim name the claims of tokens. Defaults: tenant_id, roles and department.
	TenantClaim     string
	RolesClaim      string
	DepartmentClaim string
	// Audience is the `aud` of tokens whose [Claims] name none. Default: archon.
	Audience string
	// Log hears when the key file can't be read any more. Default: [slog.Default].
	Log *slog.Logger
	// Now is the clock. Default: [time.Now].
	Now func() time.Time
}

// ErrConfig is returned by [Open] for a [Config] that can't work.
var ErrConfig = errors.New("invalid issuer configuration")

// Issuer signs tokens and publishes its keys. It is safe for concurrent use, by several processes too.
type Issuer struct {
	file            string
	url             *url.URL
	tenantClaim     string
	rolesClaim      string
	departmentClaim string
	audience        string
	log             *slog.Logger
	now             func() time.Time

	mu     sync.Mutex
	cached *keyFile
	// seen is the file that cached was read from.
	seen fs.FileInfo
	// unreadable says that the last attempt to read failed, so that it is logged once.
	unreadable bool
}

var _ auth.LocalIssuer = (*Issuer)(nil)

// Open returns the issuer of a folder and makes its key where there is none.
func Open(cfg Config) (*Issuer, error) {
	i := &Issuer{
		file:            filepath.Join(cfg.Dir, fileName),
		tenantClaim:     cmp.Or(cfg.TenantClaim, "tenant_id"),
		rolesClaim:      cmp.Or(cfg.RolesClaim, "roles"),
		departmentClaim: cmp.Or(cfg.DepartmentClaim, "department"),
		audience:        cmp.Or(cfg.Audience, "archon"),
		log:             cmp.Or(cfg.Log, slog.Default()),
		now:             cfg.Now,
	}
	if i.now == nil {
		i.now = time.Now
	}

	for _, name := range []string{i.tenantClaim, i.rolesClaim, i.departmentClaim} {
		if slices.Contains(ownClaims(), name) {
			return nil, fmt.Errorf("%w: the claim %q has another meaning; choose another name for the tenant, the roles or the department", ErrConfig, name)
		}
	}

	if i.tenantClaim == i.rolesClaim {
		return nil, fmt.Errorf("%w: tenant and roles can't both be in the claim %q", ErrConfig, i.tenantClaim)
	}

	if i.departmentClaim == i.tenantClaim || i.departmentClaim == i.rolesClaim {
		return nil, fmt.Errorf("%w: the department can't be in the claim %q, which is the tenant's or the roles'", ErrConfig, i.departmentClaim)
	}

	state, err := openFile(i.file, cfg.URL)
	if err != nil {
		return nil, err
	}

	i.cached = state
	i.url, err = parseURL(state.Issuer)

	return i, err
}

// parseURL checks the URL of an issuer, which has neither query nor fragment.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || strings.ContainsAny(raw, "?#") || !isPlainPath(u.Path) {
		return nil, fmt.Errorf("%w: %q is not a URL such as http://localhost:8080/oidc", ErrConfig, raw)
	}

	return u, nil
}

// isPlainPath keeps out what has a meaning in a pattern of http.ServeMux, or is read differently by different clients.
func isPlainPath(p string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/"

	p = strings.TrimSuffix(p, "/")

	return p == "" || (strings.Trim(p, alphabet) == "" && path.Clean(p) == p)
}

// URL is the `iss` of the issuer's tokens.
func (i *Issuer) URL() string { return i.url.String() }

// Keys returns the public keys that tokens may be signed with: the present one first, then those before it whose tokens
// may not have expired. A rotation by another process is seen at once.
func (i *Issuer) Keys() []jose.JSONWebKey {
	return i.state().publicKeys(i.now())
}

// Rotate makes a new key to sign with. The old public key counts until the last token that it signed has expired.
func (i *Issuer) Rotate() error {
	return updateFile(i.file, func(state *keyFile) error { return state.rotate(i.now()) })
}

// state returns the content of the key file. If that can't be read any more, what was read before still counts: an
// issuer that forgets its key would lock everybody out.
func (i *Issuer) state() *keyFile {
	i.mu.Lock()
	defer i.mu.Unlock()

	state, info, err := readIfChanged(i.file, i.seen)
	if err != nil && !i.unreadable {
		i.log.WarnContext(context.Background(), "issuer key file unreadable", "error", err)
	}

	i.unreadable = err != nil
	if state != nil {
		i.cached, i.seen = state, info
	}

	return i.cached
}
