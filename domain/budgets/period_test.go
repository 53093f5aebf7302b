package budgets_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/archonhq/archon/domain/budgets"
)

func zoneOf(tb testing.TB, name string) *time.Location {
	tb.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return zone
}

func TestPeriodsAreThoseOfTheCalendarWhereTheTenantIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, zone, at, monthFrom, monthUntil, quarterFrom, quarterUntil string }{
		{"an ordinary moment", "UTC", "2026-11-25T14:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"the first moment", "UTC", "2026-04-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z"},
		{"the last one", "UTC", "2026-03-31T23:59:59.999999Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"},
		{"the end of a year", "UTC", "2026-12-31T23:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"a leap day", "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-01-01T00:00:00Z", "2028-04-01T00:00:00Z"},
		{"already next month in Berlin", "Europe/Berlin", "2026-10-31T23:30:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z", "2026-09-30T22:00:00Z", "2026-12-31T23:00:00Z"},
		{"a month of 743 hours", "Europe/Berlin", "2026-03-15T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", "2025-12-31T23:00:00Z", "2026-03-31T22:00:00Z"},
		{"still last year in New York", "America/New_York", "2027-01-01T04:59:59Z", "2026-12-01T05:00:00Z", "2027-01-01T05:00:00Z", "2026-10-01T04:00:00Z", "2027-01-01T05:00:00Z"},
		{"a quarter of an hour", "Asia/Kathmandu", "2026-06-30T18:15:00Z", "2026-06-30T18:15:00Z", "2026-07-31T18:15:00Z", "2026-06-30T18:15:00Z", "2026-09-30T18:15:00Z"},
		{"no midnight on the first", "Asia/Amman", "2016-04-10T00:00:00Z", "2016-03-31T22:00:00Z", "2016-04-30T21:00:00Z", "2016-03-31T22:00:00Z", "2016-06-30T21:00:00Z"},
		{"no midnight on the first, further west", "America/Asuncion", "2017-10-10T00:00:00Z", "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z", "2017-10-01T04:00:00Z", "2018-01-01T03:00:00Z"},
		{"midnight comes twice", "America/Havana", "2015-11-10T00:00:00Z", "2015-11-01T04:00:00Z", "2015-12-01T05:00:00Z", "2015-10-01T04:00:00Z", "2016-01-01T05:00:00Z"},
		{"the month begins, and is over for an hour", "America/St_Johns", "2009-11-01T02:45:00Z", "2009-11-01T02:30:00Z", "2009-12-01T03:30:00Z", "2009-10-01T02:30:00Z", "2010-01-01T03:30:00Z"},
		{"after a day that never was", "Pacific/Apia", "2011-12-31T12:00:00Z", "2011-12-31T10:00:00Z", "2012-01-31T10:00:00Z", "2011-12-31T10:00:00Z", "2012-03-31T10:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		for period, want := range map[budgets.Period][2]string{budgets.Monthly: {c.monthFrom, c.monthUntil}, budgets.Quarterly: {c.quarterFrom, c.quarterUntil}} {
			got := period.Window(at, zoneOf(t, c.zone))
			if got.Start.Format(time.RFC3339) != want[0] || got.End.Format(time.RFC3339) != want[1] || !got.Contains(at) {
				t.Errorf("%s, %s: %s to %s, not %s", c.what, period, got.Start.Format(time.RFC3339), got.End.Format(time.RFC3339), want)
			}
		}
	}
}

// TestPeriodsBeginWithTheFirstMomentOfTheirFirstDay looks for that moment by counting minutes, in zones that have put clocks
// on and back at the strangest hours.
func TestPeriodsBeginWithTheFirstMomentOfTheirFirstDay(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "America/Havana", "America/Asuncion", "America/Sao_Paulo", "America/Santiago",
		"Asia/Amman", "Asia/Beirut", "Asia/Gaza", "Asia/Tehran", "Asia/Kolkata", "Africa/Cairo", "Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Apia",
		"Pacific/Kiritimati", "Pacific/Chatham", "Antarctica/Troll",
	} {
		zone := zoneOf(t, name)
		for year := 2005; year < 2031; year++ {
			for month := time.January; month <= time.December; month++ {
				got := budgets.Monthly.Window(time.Date(year, month, 15, 12, 0, 0, 0, zone), zone).Start
				want := time.Date(year, month, 1, 12, 0, 0, 0, zone).Add(-30 * time.Hour).Truncate(time.Minute)
				for want.In(zone).Month() != month {
					want = want.Add(time.Minute)
				}
				if !got.Equal(want) {
					t.Errorf("%s, %d-%d: %s, not %s", name, year, month, got.In(zone), want.In(zone))
				}
			}
		}
	}
}

// TestEveryMomentIsInOnePeriod also when it is on an edge, or the zone changes in between.
func TestEveryMomentIsInOnePeriod(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	zones := []*time.Location{nil, zoneOf(t, "Europe/Berlin"), zoneOf(t, "America/St_Johns"), zoneOf(t, "Pacific/Apia"), zoneOf(t, "Pacific/Kiritimati")}
	for range 20_000 {
		zone := zones[random.IntN(len(zones))]
		at := time.Unix(1_100_000_000+random.Int64N(1_000_000_000), random.Int64N(1_000_000_000))
		for _, period := range []budgets.Period{budgets.Monthly, budgets.Quarterly} {
			w := period.Window(at, zone)
			before, after := period.Window(w.Start.Add(-1), zone), period.Window(w.End, zone)
			if !w.Contains(at) || !before.End.Equal(w.Start) || !after.Start.Equal(w.End) || period.Window(w.Start, zone) != w || period.Window(w.End.Add(-1), zone) != w {
				t.Fatalf("%s in %s: %v, %v, %v", at, zone, before, w, after)
			}
			if budgets.Quarterly.Window(at, zone).Start.After(budgets.Monthly.Window(at, zone).Start) {
				t.Fatalf("%s in %s: the quarter begins after the month", at, zone)
			}
		}
	}
}
