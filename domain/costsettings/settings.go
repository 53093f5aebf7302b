package costsettings

import (
	"slices"
	"time"

	"github.com/archonhq/archon/domain"
)

// DefaultTimeZone is that of a tenant that has chosen none.
const DefaultTimeZone = "UTC"

// SecretOverlap is for how long after a change of the secret messages are signed with the one before too, so that a
// receiver can change over without missing one.
const SecretOverlap = 24 * time.Hour

// Webhook is where alerts are sent.
type Webhook struct {
	// URL holds no credentials.
	URL string `json:"url"`
	// VaultPath and SecretVersion name the secret that messages are signed with.
	VaultPath     string `json:"vault_path"`
	SecretVersion int    `json:"secret_version"`
	// PreviousVersion is the secret before, since RotatedAt; 0 where there was none.
	PreviousVersion int        `json:"previous_version,omitempty"`
	RotatedAt       *time.Time `json:"rotated_at,omitempty"`
}

// SigningVersions are the versions of the secret that a message is signed with at a time, the present one first.
func (w Webhook) SigningVersions(now time.Time) []int {
	versions := []int{w.SecretVersion}
	if w.PreviousVersion != 0 && w.RotatedAt != nil && now.Before(w.RotatedAt.Add(SecretOverlap)) {
		versions = append(versions, w.PreviousVersion)
	}
	return versions
}

// Settings are a tenant's.
type Settings struct {
	// TimeZone is a name of the IANA time zone database.
	TimeZone string `json:"time_zone"`
	// Webhook is nil where alerts are sent nowhere.
	Webhook *Webhook `json:"alert_webhook"`
}

// Default is what holds before anything was set.
func Default() Settings { return Settings{TimeZone: DefaultTimeZone} }

// Changed says that these are the settings from now on, all of them; Changed names the fields that differ from before.
type Changed struct {
	Settings

	Changed []string `json:"changed"`
}

// EventType implements domain.Event.
func (Changed) EventType() string { return "costs.settings_changed.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{Changed{}} }

// Stream is the stream of a tenant's settings.
const Stream = "costs-settings"

// Secret names a version of the webhook's secret.
type Secret struct {
	VaultPath string
	Version   int
}

// Change replaces the settings. Time zone and URL have been judged by whoever sends it: that takes more than this package
// knows.
type Change struct {
	TimeZone string
	// URL is nil to send alerts nowhere.
	URL *string
	// Secret is the version to sign with from now on; nil keeps the one that there is.
	Secret *Secret
	Now    time.Time
}

// State is the settings as they stand.
type State struct {
	set *Settings
}

// Current is the settings; the default where nothing was set.
func (s State) Current() Settings {
	if s.set == nil {
		return Default()
	}
	return *s.set
}

// Decider is the behaviour of a tenant's settings.
func Decider() domain.Decider[State, Change] {
	return domain.Decider[State, Change]{Decide: decide, Evolve: evolve}
}

func decide(state State, c Change) ([]domain.To, error) {
	before := state.Current()
	after := Settings{TimeZone: c.TimeZone}
	if c.URL != nil {
		webhook, err := webhookAfter(before.Webhook, c)
		if err != nil {
			return nil, err
		}
		after.Webhook = &webhook
	}
	changed := changes(before, after)
	if len(changed) == 0 {
		return nil, nil
	}
	return []domain.To{{Stream: Stream, Event: Changed{Settings: after, Changed: changed}}}, nil
}

func webhookAfter(before *Webhook, c Change) (Webhook, error) {
	after := Webhook{}
	if before != nil {
		after = *before
	}
	after.URL = *c.URL
	switch {
	case c.Secret == nil && before == nil:
		return after, domain.InvalidFields("The settings are not valid.", map[string]any{"alert_webhook_secret": "is needed for a webhook"})
	case c.Secret == nil:
		return after, nil
	}
	after.VaultPath, after.SecretVersion = c.Secret.VaultPath, c.Secret.Version
	if before != nil && before.SecretVersion != c.Secret.Version {
		at := c.Now.UTC().Truncate(time.Microsecond)
		after.PreviousVersion, after.RotatedAt = before.SecretVersion, &at
	}
	return after, nil
}

// changes names the fields that differ.
func changes(before, after Settings) []string {
	was, is := before.webhook(), after.webhook()
	fields := []struct {
		name    string
		differs bool
	}{
		{"time_zone", before.TimeZone != after.TimeZone},
		{"alert_webhook_url", was.URL != is.URL},
		{"alert_webhook_secret", was.SecretVersion != is.SecretVersion},
	}
	var changed []string
	for _, field := range fields {
		if field.differs {
			changed = append(changed, field.name)
		}
	}
	return slices.Clip(changed)
}

func (s Settings) webhook() Webhook {
	if s.Webhook == nil {
		return Webhook{}
	}
	return *s.Webhook
}

func evolve(state State, event domain.Event) State {
	if changed, is := event.(Changed); is {
		state.set = &changed.Settings
	}
	return state
}
