package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is another process as Linux describes it in /proc. Elsewhere everything about it is 0, and left out of the results.
type process struct{ pid int }

// ticksPerSecond is the unit of processor time in /proc: USER_HZ, the same on every architecture that Go knows.
const ticksPerSecond = 100

var errProcStat = errors.New("/proc has another form than expected")

// cpu is the processor time that the process has used, of the system in its name included.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the processor time: %w", err)
	}
	_, after, found := strings.Cut(string(stat), ") ") // the name in brackets may hold anything
	fields := strings.Fields(after)
	const utime, stime = 11, 12 // fields 14 and 15, counted from after the name
	if !found || len(fields) <= stime {
		return 0, errProcStat
	}
	var ticks int64
	for _, field := range fields[utime : stime+1] {
		count, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errProcStat, err)
		}
		ticks += count
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// rss is the resident memory in MB (10⁶ bytes).
func (p *process) rss() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			const kib, mega = 1024, 1e6
			count, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return count * kib / mega
		}
	}
	return 0
}

// watch samples the memory until stop is called, which returns the most that was seen and the processor time since. A nil
// process uses nothing.
func (p *process) watch(ctx context.Context) (stop func() (maxRSS float64, used time.Duration, err error), err error) {
	if p == nil {
		return func() (float64, time.Duration, error) { return 0, 0, nil }, nil
	}
	before, err := p.cpu()
	if err != nil {
		return nil, err
	}
	const every = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan float64, 1)
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for highest := p.rss(); ; highest = max(highest, p.rss()) {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				most <- max(highest, p.rss())
				return
			}
		}
	}()
	return func() (float64, time.Duration, error) {
		cancel()
		after, err := p.cpu()
		return <-most, after - before, err
	}, nil
}
