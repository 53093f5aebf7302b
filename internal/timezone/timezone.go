// Package timezone loads time zones by name. The database of zones is in the binary, so that a machine without one knows
// the same names.
package timezone

import (
	"errors"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // where the system has no zones
)

// ErrUnknown says that a text names no time zone.
var ErrUnknown = errors.New("not a name of the IANA time zone database")

// Load is the time zone of a name, or [ErrUnknown]. What stands for another zone on each machine is none, nor is what counts
// leap seconds as no clock here does.
func Load(name string) (*time.Location, error) {
	if slices.Contains([]string{"", "Local", "localtime", "posixrules"}, name) || strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
		return nil, ErrUnknown
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, ErrUnknown
	}
	return location, nil
}
