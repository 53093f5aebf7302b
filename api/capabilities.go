package api

// CapabilitiesOf names capabilities in the API's type; none is an empty list, never null.
func CapabilitiesOf(names []string) []Capability {
	capabilities := make([]Capability, len(names))
	for i, name := range names {
		capabilities[i] = Capability(name)
	}
	return capabilities
}
