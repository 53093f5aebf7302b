package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Config says which tokens are accepted.
type Config struct {
	// Issuer is the exact `iss` of tokens, an http or https URL with the discovery document below it.
	// [NewEmbeddedVerifier] takes the issuer's own URL instead.
	Issuer string
	// Audience must be in `aud`.
	Audience string
	// TenantClaim and RolesClaim are names of claims; a dot descends into an object. Defaults: tenant_id and roles.
	TenantClaim string
	RolesClaim  string
	// DepartmentClaim is the name of the claim that says on whose account calls are. Default: department.
	DepartmentClaim string
	// HTTPClient fetches the discovery document and the keys. The default is a client of its own; either way an answer
	// is read up to 1 MiB and waited for at most 5 s.
	HTTPClient *http.Client
	// Log hears when the issuer goes away and comes back. Default: [slog.Default].
	Log *slog.Logger
	// Now is the clock. Default: [time.Now].
	Now func() time.Time
}

// Leeway is how far the clocks of an issuer and this host may be apart: a token counts from its `nbf` less Leeway until
// its `exp` plus Leeway.
const Leeway = 30 * time.Second

// ErrConfig is returned for a [Config] that can't work.
var ErrConfig = errors.New("invalid token verifier configuration")

// Verifier judges tokens of one issuer. It is safe for concurrent use.
type Verifier struct {
	issuer          string
	audience        string
	tenantClaim     string
	rolesClaim      string
	departmentClaim string
	now             func() time.Time
	keys            keySource
}

// NewVerifier returns a verifier for a remote issuer and starts to read its keys. It does not wait for them, and an
// issuer that is away is no error; ctx gives that first attempt its values, not its end. The error is [ErrConfig].
func NewVerifier(ctx context.Context, cfg Config) (*Verifier, error) {
	u, err := url.Parse(cfg.Issuer)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%w: the issuer is not an http or https URL", ErrConfig)
	}

	v, err := newVerifier(cfg)
	if err != nil {
		return nil, err
	}

	keys := newRemoteKeys(cfg, u.Scheme == "https", v.now)
	keys.refreshInBackground(ctx)

	v.keys = keys

	return v, nil
}

// NewEmbeddedVerifier returns a verifier for an issuer in this process; the issuer and the HTTP client of cfg don't
// count. The error is [ErrConfig].
func NewEmbeddedVerifier(issuer LocalIssuer, cfg Config) (*Verifier, error) {
	cfg.Issuer = issuer.URL()

	v, err := newVerifier(cfg)
	if err != nil {
		return nil, err
	}

	v.keys = localKeys{issuer: issuer, now: v.now}

	return v, nil
}

func newVerifier(cfg Config) (*Verifier, error) {
	if cfg.Audience == "" {
		return nil, fmt.Errorf("%w: no audience", ErrConfig)
	}

	v := &Verifier{
		issuer:          cfg.Issuer,
		audience:        cfg.Audience,
		tenantClaim:     cmp.Or(cfg.TenantClaim, "tenant_id"),
		rolesClaim:      cmp.Or(cfg.RolesClaim, "roles"),
		departmentClaim: cmp.Or(cfg.DepartmentClaim, "department"),
		now:             cfg.Now,
	}
	if v.now == nil {
		v.now = time.Now
	}

	return v, nil
}

// Verify returns the token's principal. The error is an [*Error] where the token does not count, wraps
// [ErrUnavailable] where that can't be told now, and otherwise wraps the end of ctx.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > MaxTokenBytes {
		return Principal{}, refuse(reasonTooLong)
	}

	// The decoder skips line breaks, which would give one token many spellings.
	if !isToken68(token) {
		return Principal{}, refuse(reasonMalformed)
	}

	jws, err := jose.ParseSignedCompact(token, acceptedAlgorithms())
	if err != nil {
		if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
			return Principal{}, refuse(reasonAlgorithm)
		}

		return Principal{}, refuse(reasonMalformed)
	}

	payload, err := v.verifySignature(ctx, jws)
	if err != nil {
		return Principal{}, err
	}

	c, err := parseClaims(payload)
	if err != nil {
		return Principal{}, err
	}

	return v.principal(c)
}

// verifySignature asks the issuer again where the known keys don't verify: it may have a new one, even under an old id.
func (v *Verifier) verifySignature(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	keys, err := v.keys.current(ctx)
	if err != nil {
		return nil, err
	}

	payload, reason := keys.verify(jws)
	if reason == "" {
		return payload, nil
	}

	keys, err = v.keys.renewed(ctx)
	if errors.Is(err, ErrUnavailable) && reason == reasonSignature {
		// The key is known and did not sign this; that needs no issuer.
		return nil, refuse(reason)
	}

	if err != nil {
		return nil, err
	}

	payload, reason = keys.verify(jws)
	if reason != "" {
		return nil, refuse(reason)
	}

	return payload, nil
}

// principal checks the claims and reads the caller out of them.
func (v *Verifier) principal(c claims) (Principal, error) {
	expiresAt, err := v.checkValidity(c)
	if err != nil {
		return Principal{}, err
	}

	roles, err := c.roles(v.rolesClaim)
	if err != nil {
		return Principal{}, err
	}

	subject, _ := c["sub"].(string)
	p := Principal{
		Tenant: c.text(v.tenantClaim), UserID: subject, Name: c.name(), Roles: roles, Department: c.department(v.departmentClaim), ExpiresAt: expiresAt,
	}

	switch {
	case !ValidUserID(p.UserID):
		return Principal{}, refuse(reasonSubject)
	case !ValidTenantID(p.Tenant):
		return Principal{}, refuse(reasonTenant)
	default:
		return p, nil
	}
}

// checkValidity checks that the token is of this issuer, for this audience and for now.
func (v *Verifier) checkValidity(c claims) (expiresAt time.Time, err error) {
	if c["iss"] != v.issuer {
		return time.Time{}, refuse(reasonIssuer)
	}

	if !c.hasAudience(v.audience) {
		return time.Time{}, refuse(reasonAudience)
	}

	expiresAt, _, ok := c.date("exp")
	if !ok {
		return time.Time{}, refuse(reasonNoExpiry)
	}

	now := v.now()
	if !now.Before(expiresAt.Add(Leeway)) {
		return time.Time{}, refuse(reasonExpired)
	}

	notBefore, present, ok := c.date("nbf")
	if present && (!ok || now.Add(Leeway).Before(notBefore)) {
		return time.Time{}, refuse(reasonNotYet)
	}

	return expiresAt, nil
}

// Check is for the health report. It wraps [ErrUnavailable], with the cause, while the issuer's keys can't be read;
// tokens are then still verified with keys that were read less than a day ago.
func (v *Verifier) Check(ctx context.Context) error { return v.keys.check(ctx) }
