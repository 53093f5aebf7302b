package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/timezone"
	"github.com/archonhq/archon/internal/webhook"
)

// CostSettings holds the use cases of the settings of costs.
type CostSettings struct {
	Handler *Handler
	Secrets secrets.Store
	// CheckURL says what is wrong with an address to send alerts to; "" where nothing is.
	CheckURL func(url string) string
	Reads    ReadYourWrites
}

type settingsTask = task[costsettings.State, costsettings.Change]

// secretField is the one field of the webhook's secret in the secret store.
const secretField = "secret"

// replacedSettings are the settings with a secret that was just made; null in any other answer, a repeated one included.
type replacedSettings struct {
	api.CostSettings

	Secret *string `json:"alert_webhook_secret"`
}

// ReplaceCostSettings implements api.StrictServerInterface.
func (c *CostSettings) ReplaceCostSettings(ctx context.Context, request api.ReplaceCostSettingsRequestObject) (api.ReplaceCostSettingsResponseObject, error) {
	if err := c.problem(request.Body); err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	done, err := retrying(func() (outcome, error) { return c.tryReplace(ctx, caller, request.Body) })
	return finish(ctx, c.Handler, c.Reads, caller, done, err, "audit_index")
}

// problem refuses settings that make no sense, with the first thing that is wrong with each field.
func (c *CostSettings) problem(sent *api.ReplaceCostSettings) error {
	details := map[string]any{}
	if _, err := timezone.Load(sent.TimeZone); err != nil {
		details["time_zone"] = "is not a name of the IANA time zone database, such as Europe/Berlin or UTC"
	}
	if sent.AlertWebhookURL != nil {
		if reason := c.CheckURL(*sent.AlertWebhookURL); reason != "" {
			details["alert_webhook_url"] = reason
		}
	}
	if sent.AlertWebhookSecret != nil {
		if _, err := webhook.ParseSecret(*sent.AlertWebhookSecret); err != nil {
			details["alert_webhook_secret"] = err.Error()
		} else if sent.AlertWebhookURL == nil {
			details["alert_webhook_secret"] = "is for a webhook; leave it out where alert_webhook_url is null"
		}
	}
	return domain.InvalidFields("The settings are not valid.", details)
}

func (c *CostSettings) tryReplace(ctx context.Context, caller Caller, sent *api.ReplaceCostSettings) (outcome, error) {
	before, err := c.load(ctx, caller.Tenant)
	if err != nil {
		return outcome{}, err
	}
	if err := caller.IfMatch.check(before.version(costsettings.Stream)); err != nil {
		return outcome{}, err
	}
	was := before.state.Current().Webhook
	change := costsettings.Change{TimeZone: sent.TimeZone, URL: sent.AlertWebhookURL, Now: c.Handler.Now()}
	var made *string
	if sent.AlertWebhookURL != nil {
		if change.Secret, made, err = c.newSecret(ctx, caller.Tenant, sent.AlertWebhookSecret, was); err != nil {
			return outcome{}, err
		}
	}
	done, err := handle(ctx, c.Handler, caller.pinned(before.version(costsettings.Stream)), settingsTask{
		decider: costsettings.Decider(), command: change, streams: []string{costsettings.Stream},
		answer: func(state costsettings.State, version int64, _ time.Time) response {
			shown := settingsView(state.Current(), version)
			return response{
				status: http.StatusOK, version: version,
				data: replacedSettings{CostSettings: shown}, once: replacedSettings{CostSettings: shown, Secret: made},
			}
		},
	})
	switch {
	case change.Secret != nil && (done.repeated() || leftNothing(ctx, err)):
		c.drop(ctx, change.Secret.VaultPath, change.Secret.Version)
	case err == nil && was != nil && sent.AlertWebhookURL == nil && !done.repeated():
		c.drop(ctx, was.VaultPath, was.SecretVersion, was.PreviousVersion)
	case err == nil && was != nil && change.Secret != nil:
		c.drop(ctx, was.VaultPath, was.PreviousVersion) // the present one takes its place
	}
	return done, err
}

// newSecret writes a new version of the webhook's secret, where there has to be one: the one that was sent, unless it is the
// present one, or, where there is none, one that is made, which made is then.
func (c *CostSettings) newSecret(ctx context.Context, tenant string, sent *string, was *costsettings.Webhook) (named *costsettings.Secret, made *string, err error) {
	secret := orZero(sent)
	switch {
	case sent == nil && was != nil:
		return nil, nil, nil
	case sent == nil:
		if secret, err = webhook.NewSecret(); err != nil {
			return nil, nil, err //nolint:wrapcheck // says what it did
		}
		made = &secret
	case was != nil:
		if present, _, err := c.Secrets.Get(ctx, strings.TrimPrefix(was.VaultPath, vaultMount), was.SecretVersion); err != nil && !errors.Is(err, secrets.ErrNotFound) {
			return nil, nil, fmt.Errorf("read the webhook's secret: %w", err)
		} else if present[secretField] == secret {
			return nil, nil, nil
		}
	}
	path := secrets.AlertWebhookPath(tenant)
	version, err := c.Secrets.Put(ctx, path, map[string]string{secretField: secret})
	if err != nil {
		return nil, nil, fmt.Errorf("write the webhook's secret: %w", err)
	}
	return &costsettings.Secret{VaultPath: vaultMount + path, Version: version}, made, nil
}

// drop takes back versions of the secret that nothing needs any more. It is an attempt: what it misses is never used.
func (c *CostSettings) drop(ctx context.Context, vaultPath string, versions ...int) {
	var needless []int
	for _, version := range versions {
		if version > 0 {
			needless = append(needless, version)
		}
	}
	if len(needless) == 0 {
		return
	}
	err := c.Secrets.DestroyVersions(context.WithoutCancel(ctx), strings.TrimPrefix(vaultPath, vaultMount), needless...)
	if err != nil && !errors.Is(err, secrets.ErrNotFound) {
		c.Handler.Logger.WarnContext(ctx, "a secret version that nothing refers to stays", slog.String("path", vaultPath), slog.Any("error", err))
	}
}

func (c *CostSettings) load(ctx context.Context, tenant string) (folded[costsettings.State], error) {
	return fold(ctx, c.Handler, tenant, settingsTask{decider: costsettings.Decider(), streams: []string{costsettings.Stream}})
}

// Current is a tenant's settings as the log has them.
func (c *CostSettings) Current(ctx context.Context, tenant string) (costsettings.Settings, error) {
	f, err := c.load(ctx, tenant)
	return f.state.Current(), err
}

// Keys are those that messages to a webhook are signed with now.
func (c *CostSettings) Keys(ctx context.Context, to costsettings.Webhook) ([][]byte, error) {
	var keys [][]byte
	for i, version := range to.SigningVersions(c.Handler.Now()) {
		value, _, err := c.Secrets.Get(ctx, strings.TrimPrefix(to.VaultPath, vaultMount), version)
		if i > 0 && errors.Is(err, secrets.ErrNotFound) {
			continue // the one before may be gone
		}
		if err != nil {
			return nil, fmt.Errorf("read the webhook's secret: %w", err)
		}
		key, err := webhook.ParseSecret(value[secretField])
		if err != nil {
			return nil, fmt.Errorf("read the webhook's secret: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// settingsView is the settings as the API shows them.
func settingsView(settings costsettings.Settings, version int64) api.CostSettings {
	shown := api.CostSettings{TimeZone: settings.TimeZone, Version: version}
	if settings.Webhook != nil {
		shown.AlertWebhookURL = &settings.Webhook.URL
	}
	return shown
}
