package commands

import "strings"

// tablesOf names the projections that show what a write of a route did, for the answer to a repeated one.
func tablesOf(path string) []string {
	for prefix, projections := range map[string][]string{
		"/api/v1/router/providers": tables,
		"/api/v1/router/rules":     routingTables,
		"/api/v1/router/fallback":  routingTables,
		"/api/v1/keys":             keyTables,
		"/api/v1/cost/pricing":     priceTables,
		"/api/v1/departments":      departmentTables,
		budgetPath:                 budgetTables,
	} {
		if strings.HasPrefix(path, prefix) {
			return projections
		}
	}
	return []string{"audit_index"}
}
