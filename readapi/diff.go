package readapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/archonhq/archon/api"
)

// fieldChanges lists what differs between two JSON documents, by path, in the order of paths.
func fieldChanges(before, after json.RawMessage) ([]api.FieldChange, error) {
	was, err := decoded(before)
	if err != nil {
		return nil, err
	}
	is, err := decoded(after)
	if err != nil {
		return nil, err
	}
	changes := []api.FieldChange{}
	err = compare("", was, is, func(path string, before, after any) error {
		change := api.FieldChange{Path: path}
		if change.Before, err = encoded(before); err != nil {
			return err
		}
		change.After, err = encoded(after)
		changes = append(changes, change)
		return err
	})
	return changes, err
}

// decoded keeps numbers as they are written.
func decoded(document json.RawMessage) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err //nolint:wrapcheck // the caller wraps
}

// encoded is nil for what is not there.
func encoded(value any) (*json.RawMessage, error) {
	if value == nil {
		return nil, nil //nolint:nilnil // null
	}
	text, err := json.Marshal(value)
	raw := json.RawMessage(text)
	return &raw, err //nolint:wrapcheck // the caller wraps
}

// compare visits every place at which two values differ. Objects are compared field by field, lists entry by entry where
// their entries are objects; everything else as a whole.
func compare(path string, before, after any, differ func(path string, before, after any) error) error {
	was, wasParts := parts(path, before)
	is, isParts := parts(path, after)
	if !wasParts || !isParts {
		if same(before, after) {
			return nil
		}
		return differ(path, before, after)
	}
	if from, to := commonIDs(before, after); !slices.Equal(from, to) {
		if err := differ(path+"[]", from, to); err != nil {
			return err
		}
	}
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := compare(name, was[name], is[name], differ); err != nil {
			return err
		}
	}
	return nil
}

// parts are the parts of a value by their paths; ok is false for what is compared as a whole.
func parts(path string, value any) (named map[string]any, ok bool) {
	named = map[string]any{}
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			if path != "" {
				name = path + "." + name
			}
			named[name] = field
		}
	case []any:
		byID := idsOf(value)
		for i, entry := range value {
			if _, isObject := entry.(map[string]any); !isObject {
				return nil, false
			}
			name := strconv.Itoa(i)
			if byID != nil {
				name = byID[i]
			}
			named[fmt.Sprintf("%s[%s]", path, name)] = entry
		}
	default:
		return nil, false
	}
	return named, true
}

// idsOf are the ids of a list's entries, nil unless each has one of its own: so an entry that moved is still the same.
func idsOf(list []any) []string {
	ids := make([]string, len(list))
	seen := map[string]bool{}
	for i, entry := range list {
		object, _ := entry.(map[string]any)
		id, _ := object["id"].(string)
		if id == "" || seen[id] {
			return nil
		}
		seen[id], ids[i] = true, id
	}
	return ids
}

// commonIDs are the ids of the entries that two lists share, in the order of each: where the orders differ, entries moved.
func commonIDs(before, after any) (from, to []string) {
	was, _ := before.([]any)
	is, _ := after.([]any)
	from, to = idsOf(was), idsOf(is)
	left := slices.Clone(from)
	from = slices.DeleteFunc(from, func(id string) bool { return !slices.Contains(to, id) })
	to = slices.DeleteFunc(to, func(id string) bool { return !slices.Contains(left, id) })
	return from, to
}

// same tells whether two decoded values are written alike.
func same(a, b any) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}
