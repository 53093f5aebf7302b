package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/cache"
	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/oidcdev"
	"github.com/archonhq/archon/internal/privacy"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/transparency"
	"github.com/archonhq/archon/migrations"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
	"github.com/archonhq/archon/readapi"
	"github.com/archonhq/archon/subscriptions"
)

// workerConns is the size of the worker's pool: projector workers, waiters, jobs and the prober.
const workerConns = 12

// node is one running Archon: what every role of it needs.
type node struct {
	cfg     config.Config
	version string
	log     *slog.Logger
	metrics *prometheus.Registry

	db         *database
	appPool    *pgxpool.Pool
	workerPool *pgxpool.Pool
	cache      *cache.Cache
	bus        *cache.Bus
	secrets    secrets.Store
	keeper     *privacy.Keeper
	issuer     *oidcdev.Issuer // nil where tokens come from elsewhere
	verifier   *auth.Verifier
	codec      *eventstore.Codec
	store      *eventstore.Store
	runner     *projections.Runner
	signer     *transparency.Signer
	// sockets is nil until the API is up, and on a node without that role.
	sockets atomic.Pointer[subscriptions.Sockets]

	// The data plane; plane is nil until openCalls.
	directory   *plane.Directory
	samples     *plane.Samples
	breakers    *breaker.Breakers
	budgets     *budget.Budgets
	plane       *plane.Plane
	transitions transitions
	// alerts are raised by calls and resolved by jobs.
	alerts *commands.Alerts
	// zones are the tenants' time zones, in memory.
	zones *readapi.TimeZones

	// closers end the parts in the reverse order of their start.
	closers []func(ctx context.Context) error
}

// openNode starts the parts. On an error it ends those that it has started.
func openNode(ctx context.Context, cfg config.Config, log *slog.Logger, version string) (*node, error) {
	n := &node{cfg: cfg, version: version, log: log, metrics: prometheus.NewRegistry(), codec: eventcodec.New(), transitions: newTransitions(log)}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, open := range []func(context.Context) error{
		n.openData, n.openDatabase, n.openCache, n.openSecrets, n.openTokens, n.openLog, n.openCalls,
	} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, n.close(context.WithoutCancel(ctx)))
		}
	}
	return n, nil
}

// close ends every part, the last one first, and reports what went wrong.
func (n *node) close(ctx context.Context) error {
	var failures []error
	for _, end := range slices.Backward(n.closers) {
		failures = append(failures, end(ctx))
	}
	n.closers = nil
	return errors.Join(failures...)
}

func (n *node) onClose(end func(ctx context.Context) error) { n.closers = append(n.closers, end) }

func (n *node) openData(context.Context) error { return makeDataDir(n.cfg.DataDir) }

// makeDataDir makes the data folder. Root's may be passed through by others, since the user that PostgreSQL then runs as
// owns the cluster in it; everything else in it is private by its own mode.
func makeDataDir(dir string) error {
	const private, searchable = 0o700, 0o711
	mode := os.FileMode(private)
	if os.Geteuid() == 0 {
		mode = searchable
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make the data folder: %w; set ARCHON_DATA_DIR to a folder that can be written", err)
	}
	return nil
}

func (n *node) openDatabase(ctx context.Context) (err error) {
	if n.db, err = openDatabase(ctx, n.cfg, n.log); err != nil {
		return err
	}
	n.onClose(n.db.release)
	if n.appPool, err = openPool(ctx, n.db.app, roleApp, n.cfg.DatabaseMaxConns); err != nil {
		return err
	}
	n.onClose(func(context.Context) error { n.appPool.Close(); return nil })
	if n.workerPool, err = openPool(ctx, n.db.worker, roleWorker, workerConns); err != nil {
		return err
	}
	n.onClose(func(context.Context) error { n.workerPool.Close(); return nil })
	if err := migrations.Check(ctx, n.appPool); err != nil {
		return err //nolint:wrapcheck // says what to do
	}
	return nil
}

func (n *node) openCache(ctx context.Context) (err error) {
	if n.cache, err = cache.Open(ctx, cache.Config{URL: n.cfg.RedisURL.Reveal(), DataDir: n.cfg.DataDir, Log: n.log}); err != nil {
		return fmt.Errorf("open Redis: %w", err)
	}
	n.onClose(func(context.Context) error { return n.cache.Close() })
	n.bus = cache.NewBus(n.cache.Client(), n.log)
	n.onClose(func(context.Context) error { n.bus.Close(); return nil })
	return nil
}

func (n *node) openSecrets(ctx context.Context) (err error) {
	if n.secrets, err = openSecretStore(ctx, n.cfg, n.log); err != nil {
		return err
	}
	n.onClose(func(context.Context) error { return n.secrets.Close() })
	n.keeper = privacy.NewKeeper(n.secrets)
	return nil
}

func openSecretStore(ctx context.Context, cfg config.Config, log *slog.Logger) (secrets.Store, error) {
	if cfg.VaultAddr == "" {
		store, err := secrets.OpenEmbedded(filepath.Join(cfg.DataDir, "secrets"))
		if err != nil {
			return nil, fmt.Errorf("open the embedded secret store: %w", err)
		}
		return store, nil
	}
	vault := secrets.VaultConfig{
		Address: cfg.VaultAddr, Mount: cfg.VaultMount, Namespace: cfg.VaultNamespace,
		Token: cfg.VaultToken.Reveal(), RoleID: cfg.VaultRoleID, SecretID: cfg.VaultSecretID.Reveal(), Logger: log,
	}
	for _, file := range []struct {
		path string
		into *string
	}{{cfg.VaultTokenFile, &vault.Token}, {cfg.VaultSecretIDFile, &vault.SecretID}} {
		if file.path == "" {
			continue
		}
		content, err := os.ReadFile(file.path)
		if err != nil {
			return nil, fmt.Errorf("read a Vault credential: %w", err)
		}
		*file.into = strings.TrimSpace(string(content))
	}
	store, err := secrets.OpenVault(ctx, vault)
	if err != nil {
		return nil, fmt.Errorf("open Vault: %w", err)
	}
	return store, nil
}

func (n *node) openTokens(ctx context.Context) (err error) {
	verify := auth.Config{
		Issuer: n.cfg.OIDCIssuer, Audience: n.cfg.OIDCAudience, TenantClaim: n.cfg.OIDCTenantClaim, RolesClaim: n.cfg.OIDCRolesClaim,
		DepartmentClaim: n.cfg.OIDCDepartmentClaim, Log: n.log,
	}
	if n.cfg.OIDCIssuer != "" {
		if n.verifier, err = auth.NewVerifier(ctx, verify); err != nil {
			return fmt.Errorf("set up the OIDC issuer: %w", err)
		}
		return nil
	}
	if n.issuer, err = openIssuer(n.cfg); err != nil {
		return err
	}
	if n.verifier, err = auth.NewEmbeddedVerifier(n.issuer, verify); err != nil {
		return fmt.Errorf("set up the embedded OIDC issuer: %w", err)
	}
	return nil
}

func (n *node) openLog(context.Context) (err error) {
	n.runner, err = projections.NewRunner(n.workerPool, n.codec, projections.Config{Log: n.log, Metrics: n.metrics}, projectors()...)
	if err != nil {
		return fmt.Errorf("set up the projections: %w", err)
	}
	n.store = eventstore.New(n.appPool, eventstore.Config{Log: n.log, Appended: func(tenant string, _ int64) {
		n.wake(tenant)
		n.bus.Publish(context.Background(), tenant)
	}})
	n.onClose(n.store.Close)
	n.signer = &transparency.Signer{
		Log: n.store, Secrets: n.secrets, Deployment: n.cfg.Deployment, Logger: n.log, Metrics: transparency.NewMetrics(n.metrics),
	}
	return nil
}

// wake tells everything that follows a tenant's log that it has grown, on this node or another one.
func (n *node) wake(tenant string) {
	n.runner.Wake(tenant)
	if sockets := n.sockets.Load(); sockets != nil {
		sockets.Wake(tenant)
	}
}

// projectors is the one list of projections and reactions.
func projectors() []projections.Projector {
	return []projections.Projector{
		projections.Providers{},
		projections.Keys{},
		projections.Prices{},
		projections.Departments{},
		projections.Budgets{},
		projections.CostSettings{},
		projections.Routing{},
		projections.Alerts{},
		projections.Breakers{},
		projections.KeySpend{},
		projections.Ledger{},
		projections.AuditIndex{},
		reactions.ProbeSchedule{},
		reactions.SecretRemoval{},
		reactions.AlertResolution{},
		reactions.CredentialAlerts{},
		reactions.AlertDelivery{},
		reactions.Repricing{},
		reactions.BudgetReview{},
	}
}

// drain bounds how long a part may take to end.
func (n *node) drain(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), max(n.cfg.ShutdownTimeout, time.Second))
}
