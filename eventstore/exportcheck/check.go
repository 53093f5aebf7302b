package exportcheck

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
)

const (
	// maxLineBytes is more than any event's line: each byte of meta and data may be an escape of six.
	maxLineBytes = 6*eventstore.MaxEventBytes + 64<<10
	// readBuffer is how much of the file is read at a time.
	readBuffer = 1 << 20
	// progressEvery is how many events pass between two calls of Progress.
	progressEvery = 10_000
)

// Verify verifies an export. Its error is ErrUsage, or tells why the file could not be read; what is wrong with the file is in the
// report.
func Verify(file io.Reader, options Options) (Report, error) {
	keys, err := verifiers(options.Keys)
	if err != nil {
		return Report{}, err
	}
	c := &check{keys: keys, progress: options.Progress}
	for i, text := range options.Since {
		older, err := open(text, keys)
		if err != nil {
			return Report{}, fmt.Errorf("%w: older checkpoint %d: %w", ErrUsage, i+1, err)
		}
		c.since = append(c.since, older)
	}
	slices.SortFunc(c.since, func(a, b signed) int { return int(min(max(a.Size-b.Size, -1), 1)) })
	if err := c.readAll(file); err != nil {
		return Report{}, err
	}
	if c.mistake != nil {
		return Report{}, c.mistake
	}
	c.end()
	c.report.notProven(c.forgotten(), c.report.Older)
	return c.report, nil
}

// check is a verification that is under way.
type check struct {
	keys     note.Verifiers
	progress func(int64)
	// since are the older checkpoints that the tree has not reached yet, by size; passed are those that it began after.
	since, passed []signed
	// mistake is the caller's, found only now.
	mistake error

	report Report
	// done is true once the verdict is known; nothing more is read then.
	done bool
	// lines counts them; started is true once the first event or anchor has been read.
	lines   int64
	started bool

	chain    *eventstore.ChainCheck
	tree     *eventstore.Range
	versions *versions
	// fork is the first older checkpoint that the events contradict.
	fork *signed
	// agreed is up to where an older checkpoint agreed.
	agreed int64
	seal   *line
}

func (c *check) forgotten() int64 {
	if c.versions == nil {
		return 0
	}
	return c.versions.forgotten
}

// tamperedf ends the check. A position of 0 names none.
func (c *check) tamperedf(position int64, format string, args ...any) {
	if !c.done {
		c.done = true
		c.report.Verdict, c.report.Position, c.report.Reason = Tampered, position, fmt.Sprintf(format, args...)
	}
}

// incompletef ends the check.
func (c *check) incompletef(format string, args ...any) {
	if !c.done {
		c.done = true
		c.report.Verdict, c.report.Reason = Incomplete, fmt.Sprintf(format, args...)
	}
}

// readAll reads the lines up to the first that is bad, or the end.
func (c *check) readAll(file io.Reader) error {
	lines := bufio.NewReaderSize(file, readBuffer)
	parsed := &line{}
	var long []byte
	for !c.done {
		text, err := lines.ReadSlice('\n')
		atEnd := errors.Is(err, io.EOF)
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, text...); len(long) > maxLineBytes {
				c.tamperedf(c.next(), "line %d is longer than any event", c.lines+1)
			}
			continue
		}
		if err != nil && !atEnd {
			return fmt.Errorf("read the export: %w", err)
		}
		if len(long) > 0 {
			long = append(long, text...)
			text, long = long, long[:0]
		}
		if !atEnd || len(text) > 0 {
			c.line(parsed, text, !atEnd)
		}
		if atEnd {
			break
		}
	}
	return nil
}

// line takes a line with its line break, or the last one, which may be cut.
func (c *check) line(parsed *line, text []byte, whole bool) {
	c.lines++
	if whole {
		text = text[:len(text)-1]
	}
	err := parsed.parse(text)
	switch {
	case err != nil && !whole:
		c.incompletef("the last line is cut: the file ends after position %d", c.next()-1)
	case err != nil:
		c.tamperedf(c.next(), "line %d %v", c.lines, err)
	case c.seal != nil:
		c.tamperedf(c.next(), "line %d follows the checkpoint, which is the last line", c.lines)
	case parsed.kind == isAnchor:
		c.anchor(parsed)
	case parsed.kind == isSeal:
		c.seal = &line{note: parsed.note, consistency: parsed.consistency}
	default:
		c.event(&parsed.event)
	}
}

// next is the position that the next event has to have.
func (c *check) next() int64 {
	if c.chain == nil {
		return 1
	}
	last, _ := c.chain.Last()
	return last + 1
}

// anchor begins an export that does not begin at position 1. The tenant comes with the first event.
func (c *check) anchor(l *line) {
	if c.started {
		c.tamperedf(c.next(), "line %d is an anchor, which can only be the first line", c.lines)
		return
	}
	tree, ok := eventstore.NewRange(l.anchor.position, l.anchor.subtrees)
	if l.anchor.subtrees != nil && !ok {
		c.tamperedf(l.anchor.position, "the anchor has not the subtrees of %d events", l.anchor.position)
		return
	}
	c.started = true
	if l.anchor.subtrees != nil {
		c.tree = tree
	}
	c.chain = eventstore.NewChainCheck("", l.anchor.position, l.anchor.hash)
	c.versions = newVersions(false)
}

func (c *check) event(event *eventstore.Recorded) {
	if !c.begin(event) {
		return
	}
	want, ok := c.versions.next(event.Stream, event.Version)
	if !c.chain.Add(event) {
		position, reason := c.chain.Bad()
		c.tamperedf(position, "%s", reason)
		return
	}
	if !ok {
		c.tamperedf(event.Position, "position %d has version %d of its stream, after which comes %d", event.Position, event.Version, want)
		return
	}
	c.report.To = event.Position
	if c.tree != nil {
		c.tree.Add(event.Hash)
		c.compare()
	}
	if events := c.report.To - c.report.From + 1; c.progress != nil && events%progressEvery == 0 {
		c.progress(events)
	}
}

// begin takes what the first event says of all.
func (c *check) begin(event *eventstore.Recorded) bool {
	if c.report.Tenant != "" {
		return true
	}
	c.report.Tenant = event.Tenant
	for _, older := range c.since {
		if eventstore.TenantOf(older.Origin) != event.Tenant {
			c.mistake = fmt.Errorf("%w: the file is of tenant %q, an older checkpoint of %q", ErrUsage, event.Tenant, older.Origin)
			c.done = true
			return false
		}
	}
	if !c.started {
		c.started, c.chain, c.tree, c.versions = true, eventstore.NewChainCheck(event.Tenant, 0, nil), &eventstore.Range{}, newVersions(true)
		c.report.From = 1
	} else {
		after, hash := c.chain.Last()
		c.chain = eventstore.NewChainCheck(event.Tenant, after, hash)
		c.report.From = after + 1
	}
	if c.tree != nil {
		c.compare()
	}
	return true
}

// compare holds the tree as it is against the older checkpoints of its size.
func (c *check) compare() {
	for len(c.since) > 0 && c.since[0].Size <= c.tree.Size() {
		older := c.since[0]
		c.since = c.since[1:]
		switch {
		case older.Size < c.tree.Size(): // it is before the anchor
			c.passed = append(c.passed, older)
		case older.Root == c.tree.Root():
			c.report.Older++
			c.agreed = older.Size
		case c.fork == nil:
			c.fork = &older
		}
	}
}

// end judges the whole.
func (c *check) end() {
	if c.chain != nil && !c.done {
		c.chain.End()
		if position, reason := c.chain.Bad(); position != 0 {
			c.tamperedf(position, "%s", reason)
		}
	}
	if c.seal == nil && c.fork != nil {
		c.forked("")
	}
	switch {
	case c.done:
	case c.seal == nil:
		c.incompletef("there is no checkpoint: the file ends after position %d, and what it has is not sealed", c.next()-1)
	case c.report.Tenant == "":
		c.incompletef("there are no events")
	default:
		c.sealed()
	}
}

// forked is for events that an older checkpoint contradicts.
func (c *check) forked(newer string) {
	c.report.Notes = []string{c.fork.note}
	if newer != "" {
		c.report.Notes = append(c.report.Notes, newer)
	}
	c.tamperedf(0, "the first %d events are not those of an older checkpoint: something between position %d and %d was rewritten (a fork)",
		c.fork.Size, c.agreed+1, c.fork.Size)
	c.report.Position = c.agreed + 1
	if c.report.Checkpoint.Size > 0 && c.report.Checkpoint.Origin != c.fork.Origin {
		c.report.Reason += "; the two are of different incarnations: an event audit.incarnated.v1 names the last checkpoint that survived a restore"
	}
}

// sealed holds the events against the checkpoint at the end.
func (c *check) sealed() {
	seal, err := open(c.seal.note, c.keys)
	switch {
	case err != nil:
		c.tamperedf(0, "the checkpoint does not count: %v", err)
		return
	case eventstore.TenantOf(seal.Origin) != c.report.Tenant:
		c.tamperedf(0, "the checkpoint is of %q, the events are tenant %q's", seal.Origin, c.report.Tenant)
		return
	}
	c.report.Checkpoint = seal.Checkpoint
	switch {
	case c.fork != nil:
		c.forked(seal.note)
	case seal.Size < c.report.To:
		c.incompletef("the checkpoint is of the first %d events: those from position %d on are not sealed, and the file does not tell the tree up to there",
			seal.Size, seal.Size+1)
	case c.tree == nil:
		c.incompletef("the anchor has no subtrees, so that the events can't be held against the checkpoint")
	default:
		c.rooted(seal)
	}
	if !c.done {
		c.remaining(seal)
	}
}

// rooted holds the tree over the events against the signed one.
func (c *check) rooted(seal signed) {
	root := c.tree.Root()
	switch {
	case seal.Size == c.tree.Size() && root != seal.Root:
		c.tamperedf(0, "the tree over the events is not the one that was signed: something from position %d on was rewritten together with all hashes after it", c.agreed+1)
		c.report.Position = c.agreed + 1
	case seal.Size == c.tree.Size():
	case c.seal.consistency == nil:
		c.tamperedf(c.report.To+1, "position %d is missing: the checkpoint is of %d events", c.report.To+1, seal.Size)
	case tlog.CheckTree(c.seal.consistency, seal.Size, seal.Root, c.tree.Size(), root) != nil:
		c.tamperedf(0, "the events up to position %d are not the beginning of the log that was signed: something from position %d on was rewritten together with all hashes after it",
			c.report.To, c.agreed+1)
		c.report.Position = c.agreed + 1
	}
}

// remaining judges the older checkpoints that the events did not reach, or begin after.
func (c *check) remaining(seal signed) {
	for _, older := range append(c.passed, c.since...) {
		switch {
		case older.Size > seal.Size:
			c.report.Notes = []string{older.note, seal.note}
			c.tamperedf(seal.Size+1, "position %d is missing: an older checkpoint is of %d events, the file's of %d", seal.Size+1, older.Size, seal.Size)
		case older.Size == seal.Size && older.Root != seal.Root:
			c.report.Notes = []string{older.note, seal.note}
			c.tamperedf(c.agreed+1, "two checkpoints of %d events have different roots (a fork)", seal.Size)
		case older.Size == seal.Size:
			c.report.Older++
		default:
			c.incompletef("the older checkpoint of %d events can't be held against positions %d to %d", older.Size, c.report.From, c.report.To)
		}
	}
}
