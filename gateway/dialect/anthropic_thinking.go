package dialect

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
)

// Reasoning effort means different things to Claude's generations: none before 3.7; a budget of tokens up to 4.5; since
// 4.6 the model thinks as it sees fit, within an effort, and 4.7 refuses budgets and sampling both.
const (
	claudeThinks   = 307
	claudeAdapts   = 406
	claudeUnguided = 407
	claudeUnknown  = math.MaxInt // an alias, or a later one
)

// The budgets in tokens that stand for an effort; the first is the least that Anthropic takes.
const (
	budgetMinimal = 1024
	budgetLow     = 2048
	budgetMedium  = 8192
	budgetHigh    = 16384
)

type anthropicThinking struct {
	Type         string `json:"type"`
	BudgetTokens int64  `json:"budget_tokens,omitempty"`
}

type anthropicOutput struct {
	Effort string `json:"effort"`
}

var claudeName = regexp.MustCompile(`claude-(?:[a-z]+-)?(\d)(?:[-.](\d{1,2}))?(?:[-@:]|$)`)

// claudeVersion is a model's version, 3.7 as 307.
func claudeVersion(model string) int {
	found := claudeName.FindStringSubmatch(model)
	if found == nil {
		return claudeUnknown
	}

	major, _ := strconv.Atoi(found[1]) // digits
	minor, _ := strconv.Atoi(found[2]) // digits or nothing

	return major*100 + minor
}

// setSampling comes before setThinking, which takes some of it back.
func (d *anthropicRequest) setSampling(chat *Chat) {
	switch {
	case claudeVersion(d.Model) >= claudeUnguided: // refused there
	case chat.Temperature != "":
		d.Temperature = atMost(chat.Temperature, 1)
	default:
		d.TopP = chat.TopP
	}
}

// setThinking turns thinking on where the client asks for effort. A forced tool call excludes it, and so does a budget
// while tool results are being given back: the thinking before them was not shown, so it can't be returned.
func (d *anthropicRequest) setThinking(chat *Chat) {
	version := claudeVersion(d.Model)
	effort, budget := anthropicEffort(chat.ReasoningEffort)

	if effort == "" || version < claudeThinks {
		return
	}

	forced := d.ToolChoice != nil && (d.ToolChoice.Type == "any" || d.ToolChoice.Type == "tool")

	if version >= claudeAdapts {
		d.OutputConfig = &anthropicOutput{Effort: effort}

		if !forced {
			d.Thinking = &anthropicThinking{Type: "adaptive"}
			d.Temperature, d.TopP = json.Number(""), json.Number("")
		}

		return
	}

	// The budget is a part of max_tokens; half of that stays for the answer.
	budget = min(budget, d.MaxTokens/2)
	if forced || budget < budgetMinimal || d.answersTools() {
		return
	}

	d.Thinking = &anthropicThinking{Type: "enabled", BudgetTokens: budget}
	d.Temperature, d.TopP = json.Number(""), json.Number("")
}

// answersTools reports whether the last turn brings tool results.
func (d *anthropicRequest) answersTools() bool {
	if len(d.Messages) == 0 {
		return false
	}

	return d.Messages[len(d.Messages)-1].Content[0].Type == "tool_result"
}

func anthropicEffort(effort string) (word string, budget int64) {
	switch effort {
	case "", "none":
		return "", 0
	case "minimal":
		return "low", budgetMinimal
	case "low":
		return "low", budgetLow
	case "medium":
		return "medium", budgetMedium
	default: // high and beyond
		return "high", budgetHigh
	}
}
