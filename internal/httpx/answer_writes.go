package httpx

import (
	"net/http"

	"github.com/archonhq/archon/api"
)

// One line a write of the document; a test fails where one is missing.
var (
	_ api.RegisterProviderResponseObject    = Answer{}
	_ api.ChangeProviderResponseObject      = Answer{}
	_ api.RemoveProviderResponseObject      = Answer{}
	_ api.ReplaceCredentialsResponseObject  = Answer{}
	_ api.TestConnectionResponseObject      = Answer{}
	_ api.CreateKeyResponseObject           = Answer{}
	_ api.RevokeKeyResponseObject           = Answer{}
	_ api.OverridePricesResponseObject      = Answer{}
	_ api.RepriceCallsResponseObject        = Answer{}
	_ api.RetryProjectionResponseObject     = Answer{}
	_ api.RebuildProjectionResponseObject   = Answer{}
	_ api.PauseProjectionResponseObject     = Answer{}
	_ api.ResumeProjectionResponseObject    = Answer{}
	_ api.RetryJobResponseObject            = Answer{}
	_ api.DiscardJobResponseObject          = Answer{}
	_ api.RouteResponseObject               = Answer{}
	_ api.TryRouteResponseObject            = Answer{}
	_ api.ReplaceRoutingRulesResponseObject = Answer{}
	_ api.ReplaceFallbackResponseObject     = Answer{}
	_ api.CreateSocketTicketResponseObject  = Answer{}
)

// VisitRegisterProviderResponse sends the answer.
func (a Answer) VisitRegisterProviderResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitChangeProviderResponse sends the answer.
func (a Answer) VisitChangeProviderResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRemoveProviderResponse sends the answer.
func (a Answer) VisitRemoveProviderResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitReplaceCredentialsResponse sends the answer.
func (a Answer) VisitReplaceCredentialsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitTestConnectionResponse sends the answer.
func (a Answer) VisitTestConnectionResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCreateKeyResponse sends the answer.
func (a Answer) VisitCreateKeyResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRevokeKeyResponse sends the answer.
func (a Answer) VisitRevokeKeyResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitOverridePricesResponse sends the answer.
func (a Answer) VisitOverridePricesResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRepriceCallsResponse sends the answer.
func (a Answer) VisitRepriceCallsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRetryProjectionResponse sends the answer.
func (a Answer) VisitRetryProjectionResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRebuildProjectionResponse sends the answer.
func (a Answer) VisitRebuildProjectionResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitPauseProjectionResponse sends the answer.
func (a Answer) VisitPauseProjectionResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitResumeProjectionResponse sends the answer.
func (a Answer) VisitResumeProjectionResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRetryJobResponse sends the answer.
func (a Answer) VisitRetryJobResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitDiscardJobResponse sends the answer.
func (a Answer) VisitDiscardJobResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRouteResponse sends the answer.
func (a Answer) VisitRouteResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitTryRouteResponse sends the answer.
func (a Answer) VisitTryRouteResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitReplaceRoutingRulesResponse sends the answer.
func (a Answer) VisitReplaceRoutingRulesResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitReplaceFallbackResponse sends the answer.
func (a Answer) VisitReplaceFallbackResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCreateDepartmentResponse sends the answer.
func (a Answer) VisitCreateDepartmentResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRenameDepartmentResponse sends the answer.
func (a Answer) VisitRenameDepartmentResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitReplaceCostSettingsResponse sends the answer.
func (a Answer) VisitReplaceCostSettingsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitPutDepartmentBudgetResponse sends the answer.
func (a Answer) VisitPutDepartmentBudgetResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitPutBudgetResponse sends the answer.
func (a Answer) VisitPutBudgetResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitDeleteDepartmentBudgetResponse sends the answer.
func (a Answer) VisitDeleteDepartmentBudgetResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitDeleteBudgetResponse sends the answer.
func (a Answer) VisitDeleteBudgetResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCreateSocketTicketResponse sends the answer.
func (a Answer) VisitCreateSocketTicketResponse(w http.ResponseWriter) error { return a.write(w) }
