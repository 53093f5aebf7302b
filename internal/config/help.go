package config

import (
	"fmt"
	"io"
	"strings"
)

// helpWidth is the column at which help text wraps, so that it reads well in a terminal of 100 columns.
const helpWidth = 96

// helpIndent is the number of columns before a setting's text.
const helpIndent = 6

// Help writes all settings for `archon help config`. The defaults are those of any machine, not of this one.
func Help(w io.Writer) error {
	var text strings.Builder

	text.WriteString("Archon is configured by environment variables. An empty one counts as not set.\n")

	for _, g := range groups(nil) {
		fmt.Fprintf(&text, "\n%s\n", g.title)

		for _, s := range g.settings {
			fmt.Fprintf(&text, "\n  %s%s\n", s.variable(), s.mark(" (secret)"))
			wrap(&text, s.fullDoc())
			wrap(&text, "Default: "+s.defaultText())
			wrap(&text, "Example: "+s.example)
		}
	}

	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write help: %w", err)
	}

	return nil
}

// Markdown returns docs/configuration.md: the same settings as tables.
func Markdown() string {
	var text strings.Builder

	text.WriteString("# Configuration\n\n" +
		"<!-- Generated from internal/config by `task generate`; edit the table there. -->\n\n" +
		"Archon is configured by environment variables. An empty one counts as not set. A malformed value stops the start with\n" +
		"a sentence that says how to mend it; an unknown `ARCHON_*` variable gets a warning with the nearest name.\n" +
		"`archon help config` prints the same list. Values of secrets are never shown or logged.\n")

	for _, g := range groups(nil) {
		fmt.Fprintf(&text, "\n## %s\n\n| variable | default | meaning | example |\n| --- | --- | --- | --- |\n", g.title)

		for _, s := range g.settings {
			fmt.Fprintf(&text, "| `%s`%s | %s | %s | `%s` |\n",
				s.variable(), s.mark(" (secret)"), s.markdownDefault(), cell(s.fullDoc()), s.example)
		}
	}

	return text.String()
}

// mark returns text for a secret and nothing for others.
func (s setting) mark(text string) string {
	if s.secret {
		return text
	}

	return ""
}

// defaultText is the default for a reader: the note where it depends on the machine, else the value, else "none".
func (s setting) defaultText() string {
	switch {
	case s.defNote != "":
		return s.defNote
	case s.def != "":
		return s.def
	default:
		return "none"
	}
}

func (s setting) markdownDefault() string {
	if s.defNote == "" && s.def != "" {
		return "`" + s.def + "`"
	}

	return cell(s.defaultText())
}

// fullDoc adds the wider convention that counts too.
func (s setting) fullDoc() string {
	if s.standard == "" {
		return s.doc
	}

	return s.doc + " `" + s.standard + "` counts where it is not set."
}

// cell keeps a text within its cell of a Markdown table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// wrap writes text as indented lines of at most helpWidth columns; longer words stand alone.
func wrap(w *strings.Builder, text string) {
	column := 0

	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			w.WriteString(strings.Repeat(" ", helpIndent))
			column = helpIndent
		case column+1+len(word) > helpWidth:
			w.WriteString("\n" + strings.Repeat(" ", helpIndent))
			column = helpIndent
		default:
			w.WriteString(" ")
			column++
		}

		w.WriteString(word)
		column += len(word)
	}

	w.WriteString("\n")
}
