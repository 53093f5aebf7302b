package bench

import (
	"cmp"
	"io"
	"time"
)

// Defaults of Config; five rounds are what the targets are defined for.
const (
	defaultRounds   = 5
	defaultCallers  = 64
	defaultDuration = 5 * time.Second
	defaultEvents   = 200_000
	defaultRows     = 1_000_000
	defaultPoolSize = 20
)

// Config says what to measure and where. OwnerDSN and Out are required.
type Config struct {
	// OwnerDSN is the connection string of a role that may create databases and roles; the scratch database is made beside
	// the one it names.
	OwnerDSN string
	// Out gets the results.
	Out io.Writer
	// JSON makes the results one object a line instead of a table.
	JSON bool
	// Progress, where set, gets a line after each measurement, for a person who waits.
	Progress io.Writer

	// Rounds is how often each variant is measured; 0 means 5.
	Rounds int
	// Callers is how many callers append at once; 0 means 64.
	Callers int
	// Duration is the length of one measurement of a variant; 0 means 5 s.
	Duration time.Duration
	// PoolSize is how many connections the store under test has; 0 means 20.
	PoolSize int
	// Events is the length of the chain that is read; 0 means 200,000.
	Events int
	// Rows is how many calls the month has whose costs are read; 0 means 1,000,000.
	Rows int
}

func (c Config) withDefaults() Config {
	c.Rounds = cmp.Or(c.Rounds, defaultRounds)
	c.Callers = cmp.Or(c.Callers, defaultCallers)
	c.Duration = cmp.Or(c.Duration, defaultDuration)
	c.PoolSize = cmp.Or(c.PoolSize, defaultPoolSize)
	c.Events = cmp.Or(c.Events, defaultEvents)
	c.Rows = cmp.Or(c.Rows, defaultRows)
	return c
}
