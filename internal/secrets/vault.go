package secrets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/hashicorp/vault/api"
)

// Vault is a [Store] in HashiCorp Vault (or OpenBao), KV version 2. It logs in, renews and logs in again by itself,
// also where Vault was away when it was opened; until then calls return [ErrUnavailable] within the timeout.
type Vault struct {
	cfg         VaultConfig
	connections *http.Client
	session     *session
	// health asks sys/health, which knows neither namespaces nor tokens.
	health *api.Client
	closed atomic.Bool
}

var _ Store = (*Vault)(nil)

// OpenVault returns a store for a well-formed configuration and does not wait for Vault: [Vault.Check] tells whether
// it is there. What ctx carries goes along with the logins; ending it does not end them, Close does.
func OpenVault(ctx context.Context, cfg VaultConfig) (*Vault, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}

	connections, err := newHTTPClient(cfg)
	if err != nil {
		return nil, err
	}

	health, err := newAPIClient(cfg, connections, "", "")
	if err != nil {
		return nil, err
	}

	session, err := startSession(ctx, cfg, connections)
	if err != nil {
		return nil, err
	}

	return &Vault{cfg: cfg, connections: connections, session: session, health: health}, nil
}

// Put implements [Store].
func (v *Vault) Put(ctx context.Context, path string, value map[string]string) (int, error) {
	if err := validatePut(path, value); err != nil {
		return 0, fmt.Errorf("put secret: %w", err)
	}

	bounded, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()

	version, err := v.write(ctx, path, putBody(value))
	for errors.Is(err, errCASRequired) && bounded.Err() == nil { // each lost race is somebody's progress
		version, err = v.putNext(ctx, path, value)
	}

	if err != nil {
		return 0, fmt.Errorf("put secret %s: %w", path, err)
	}

	return version, nil
}

// errCASRequired is the mount's wish to have no write without check-and-set (its cas_required setting).
var errCASRequired = fmt.Errorf("%w: the mount takes only check-and-set", ErrUnavailable)

// putNext writes after whatever version is the newest, and asks for another try where that changed meanwhile.
func (v *Vault) putNext(ctx context.Context, path string, value map[string]string) (int, error) {
	_, newest, err := v.read(ctx, path, 0)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}

	version, err := v.write(ctx, path, casBody(newest, value))
	if errors.Is(err, ErrVersionMismatch) {
		return 0, errCASRequired
	}

	return version, err
}

// PutIfVersion implements [Store].
func (v *Vault) PutIfVersion(ctx context.Context, path string, expected int, value map[string]string) (int, error) {
	if err := validatePut(path, value); err != nil {
		return 0, fmt.Errorf("put secret: %w", err)
	}

	if err := validateVersion(expected); err != nil {
		return 0, fmt.Errorf("put secret: %w", err)
	}

	version, err := v.write(ctx, path, casBody(expected, value))
	if err != nil {
		return 0, fmt.Errorf("put secret %s: %w", path, err)
	}

	return version, nil
}

func putBody(value map[string]string) map[string]any {
	if value == nil {
		value = map[string]string{} // null would be "no data provided"
	}

	return map[string]any{"data": value}
}

func casBody(expected int, value map[string]string) map[string]any {
	body := putBody(value)
	body["options"] = map[string]any{"cas": expected}

	return body
}

func (v *Vault) write(ctx context.Context, path string, body map[string]any) (version int, err error) {
	err = v.call(ctx, func(ctx context.Context, client *api.Client) error {
		answer, err := client.Logical().WriteWithContext(ctx, v.cfg.Mount+"/data/"+path, body)
		if err != nil {
			var refused *api.ResponseError
			if errors.As(err, &refused) && says(refused, "check-and-set parameter required") {
				return errCASRequired
			}

			return err
		}

		if answer == nil {
			return fmt.Errorf("%w: the mount is not KV version 2", ErrUnavailable)
		}

		version, err = versionOf(answer.Data)

		return err
	})

	return version, err
}

// Get implements [Store].
func (v *Vault) Get(ctx context.Context, path string, version int) (map[string]string, int, error) {
	if err := validateGet(path, version); err != nil {
		return nil, 0, fmt.Errorf("get secret: %w", err)
	}

	value, version, err := v.read(ctx, path, version)
	if err != nil {
		return nil, 0, fmt.Errorf("get secret %s: %w", path, err)
	}

	return value, version, nil
}

// read returns, with ErrNotFound, the number of a version whose value is gone.
func (v *Vault) read(ctx context.Context, path string, version int) (value map[string]string, found int, err error) {
	query := url.Values{}
	if version > 0 {
		query.Set("version", strconv.Itoa(version))
	}

	err = v.call(ctx, func(ctx context.Context, client *api.Client) error {
		answer, err := readVault(ctx, client, v.cfg.Mount+"/data/"+path, query)
		metadata, _ := answer["metadata"].(map[string]any)

		if errors.Is(err, ErrNotFound) {
			found, _ = versionOf(metadata) // 0 where the path is not there at all

			return err
		}

		if err != nil {
			return err
		}

		if found, err = versionOf(metadata); err != nil {
			return err
		}

		value, err = textsOf(answer["data"])

		return err
	})

	return value, found, err
}

// Destroy implements [Store].
func (v *Vault) Destroy(ctx context.Context, path string) error {
	if err := ValidatePath(path); err != nil {
		return fmt.Errorf("destroy secret: %w", err)
	}

	err := v.call(ctx, func(ctx context.Context, client *api.Client) error {
		_, err := client.Logical().DeleteWithContext(ctx, v.cfg.Mount+"/metadata/"+path)

		return err
	})
	if err != nil {
		return fmt.Errorf("destroy secret %s: %w", path, err)
	}

	return nil
}

// DestroyVersions implements [Store].
func (v *Vault) DestroyVersions(ctx context.Context, path string, versions ...int) error {
	if err := validateDestroyVersions(path, versions); err != nil {
		return fmt.Errorf("destroy versions of secret: %w", err)
	}

	if len(versions) == 0 {
		return nil
	}

	err := v.call(ctx, func(ctx context.Context, client *api.Client) error {
		body := map[string]any{"versions": versions}
		_, err := client.Logical().WriteWithContext(ctx, v.cfg.Mount+"/destroy/"+path, body)

		return err
	})
	if err != nil {
		return fmt.Errorf("destroy versions of secret %s: %w", path, err)
	}

	return nil
}

// List implements [Store].
func (v *Vault) List(ctx context.Context, prefix string) ([]string, error) {
	prefix, err := cleanPrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}

	names := []string{}

	err = v.call(ctx, func(ctx context.Context, client *api.Client) error {
		answer, err := readVault(ctx, client, v.cfg.Mount+"/metadata/"+prefix, url.Values{"list": {"true"}})
		if errors.Is(err, ErrNotFound) {
			return nil
		}

		if err != nil {
			return err
		}

		names, err = namesOf(answer)

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list secrets below %q: %w", prefix, err)
	}

	slices.Sort(names)

	return names, nil
}

// Check implements [Store]: Vault is unsealed, accepts this node, and has a KV version 2 engine at the mount.
func (v *Vault) Check(ctx context.Context) error {
	err := v.call(ctx, func(ctx context.Context, client *api.Client) error {
		health, err := v.health.Sys().HealthWithContext(ctx)

		switch {
		case err != nil:
			return err
		case !health.Initialized:
			return fmt.Errorf("%w: vault is not initialized", ErrUnavailable)
		case health.Sealed:
			return fmt.Errorf("%w: vault is sealed", ErrUnavailable)
		}

		// What Vault's own command line asks to learn an engine's version: any token with access to the mount may.
		mount, err := readVault(ctx, client, "sys/internal/ui/mounts/"+v.cfg.Mount, nil)
		if err != nil {
			return err
		}

		options, _ := mount["options"].(map[string]any)
		if mount["type"] != "kv" || options["version"] != "2" {
			return fmt.Errorf("%w: mount %q is not KV version 2", ErrUnavailable, v.cfg.Mount)
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("check vault: %w", err)
	}

	return nil
}

// Kind implements [Store].
func (*Vault) Kind() string { return KindVault }

// Close implements [Store]. It waits for a renewal that is under way, which the timeout bounds.
func (v *Vault) Close() error {
	v.closed.Store(true)
	v.session.stop()
	v.connections.CloseIdleConnections()

	return nil
}

// call runs one exchange with a valid token, and a second time where the first showed that the token had ended.
func (v *Vault) call(ctx context.Context, exchange func(context.Context, *api.Client) error) error {
	if v.closed.Load() {
		return fmt.Errorf("%w: it is closed", ErrUnavailable)
	}

	bounded, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()

	held, err := v.session.current(bounded)
	if err != nil {
		return vaultFault(ctx, err, v.cfg.Timeout)
	}

	err = exchange(bounded, held.client)
	if isStatus(err, http.StatusForbidden) {
		if fresh, ok := v.session.afterDenial(bounded, held); ok {
			err = exchange(bounded, fresh.client)
		}
	}

	return vaultFault(ctx, err, v.cfg.Timeout)
}
