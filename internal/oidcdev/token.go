package oidcdev

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/archonhq/archon/internal/auth"
)

// MaxTTL is the longest life of a token, and so how long a replaced key is kept.
const MaxTTL = 30 * 24 * time.Hour

// defaultTTL is the life of a token whose [Claims] name none.
const defaultTTL = time.Hour

// Claims is what a token says of its user.
type Claims struct {
	Tenant string
	User   string
	// Name is for people to read; empty means User.
	Name  string
	Roles []auth.Role
	// Department is on whose account the user's calls are; empty says nothing of it.
	Department string
	// Audience is empty for the issuer's own.
	Audience string
	// TTL is from 1 s to [MaxTTL], in whole seconds; 0 means 1 h.
	TTL time.Duration
}

// ErrClaims is returned by [Issuer.Token] for claims that package auth would refuse; its text says which.
var ErrClaims = errors.New("invalid claims")

func (c Claims) check() error {
	switch {
	case !auth.ValidTenantID(c.Tenant):
		return fmt.Errorf("%w: the tenant %q must be 1 to 63 of a-z, 0-9, '-' and '_' and start with a letter or a digit", ErrClaims, c.Tenant)
	case !auth.ValidUserID(c.User):
		return fmt.Errorf("%w: the user %q must be 1 to 255 bytes of text without control characters", ErrClaims, c.User)
	case !auth.ValidDepartment(c.Department):
		return fmt.Errorf("%w: the department must be at most 200 bytes of text without control characters", ErrClaims)
	case c.TTL < time.Second || c.TTL > MaxTTL:
		return fmt.Errorf("%w: the time to live %s must be from 1s to %s", ErrClaims, c.TTL, MaxTTL)
	}

	for _, role := range c.Roles {
		if _, ok := auth.ParseRole(string(role)); !ok {
			return fmt.Errorf("%w: the role %q must be one of %q", ErrClaims, role, auth.Roles())
		}
	}

	return nil
}

// ownClaims are the names that the tenant, the roles and the department can't have.
func ownClaims() []string {
	return []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "name", "preferred_username"}
}

// Token returns a signed token. The error wraps [ErrClaims] where the claims are at fault.
func (i *Issuer) Token(c Claims) (string, error) {
	c.Name, c.Audience, c.TTL = cmp.Or(c.Name, c.User), cmp.Or(c.Audience, i.audience), cmp.Or(c.TTL, defaultTTL)
	if err := c.check(); err != nil {
		return "", err
	}

	key := i.state().Signing

	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: key},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return "", fmt.Errorf("make signer: %w", err)
	}

	now := i.now()

	claims := map[string]any{
		"iss":                i.URL(),
		"sub":                c.User,
		"aud":                c.Audience,
		"exp":                jwt.NewNumericDate(now.Add(c.TTL)),
		"iat":                jwt.NewNumericDate(now),
		"nbf":                jwt.NewNumericDate(now),
		"jti":                uuid.NewString(),
		"name":               c.Name,
		"preferred_username": c.User,
		// One claim even where its name has dots; package auth looks for that first.
		i.tenantClaim: c.Tenant,
		i.rolesClaim:  slices.Concat([]auth.Role{}, c.Roles),
	}
	if c.Department != "" {
		claims[i.departmentClaim] = c.Department
	}

	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}

	return token, nil
}
