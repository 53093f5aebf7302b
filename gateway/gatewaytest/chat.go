package gatewaytest

import "slices"

// unknownField is a field of the body that is not among known, "" if there is none. Real providers are as strict, most of
// them.
func unknownField(body []byte, known ...string) string {
	for name := range fields(body) {
		if !slices.Contains(known, name) {
			return name
		}
	}

	return ""
}

// objects makes an object of each item.
func objects[T any](items []T, build func(item T) object) []object {
	var made []object
	for _, item := range items {
		made = append(made, build(item))
	}

	return made
}
