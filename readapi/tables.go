package readapi

// TablesOf names the projections that an operation reads, for X-Min-Position; none where it reads the log itself.
func TablesOf(operation string) []string {
	switch operation {
	case "listProviders", "getProvider", "getProvidersHealth":
		return []string{"providers"}
	case "listProviderHealth", "getProviderHealth":
		return []string{"providers", "breakers"}
	case "listKeys", "getKey":
		return []string{"keys"}
	case "listPrices":
		return []string{"prices"}
	case "getRoutingRules", "getFallback":
		return []string{"routing"}
	case "listAlerts":
		return []string{"alerts"}
	case "getCostDashboard":
		return []string{"ledger", "providers", "departments", "budgets"}
	case "getCostBreakdown", "exportCosts":
		return []string{"ledger", "providers", "departments"}
	case "listDepartments", "getDepartment":
		return []string{"departments"}
	case "listBudgets", "getBudget", "getDepartmentBudget":
		return []string{"budgets", "ledger", "departments", "alerts"}
	case "getCostForecast":
		return []string{"ledger"}
	case "listAudit":
		return []string{"audit_index"}
	}
	return nil
}
