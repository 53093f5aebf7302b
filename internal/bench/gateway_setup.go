package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// gatewayModel has a price in Archon's own list.
const gatewayModel = "gpt-4o-mini"

type object = map[string]any

// setUp registers two providers at the upstream with rate limits, makes rules of which the last one matches, and a fallback
// chain, and returns an API key with a rate limit and a budget. None of the limits is reached.
func setUp(ctx context.Context, child *child, upstream string) (key string, err error) {
	const plenty = 100_000_000
	token, err := child.run(ctx, "token", "--tenant", benchTenant, "--user", "bench", "--role", "admin")
	if err != nil {
		return "", err
	}
	api := administration{base: "http://" + child.addr + "/api/v1", token: token}
	var ids []string
	for _, name := range []string{"First", "Second"} {
		made, err := api.send(ctx, http.MethodPost, "/router/providers", object{
			"name": name, "type": "openai", "base_url": "http://" + upstream, "api_key": "sk-bench", "rate_limit_rpm": plenty, "rate_limit_tpm": 10 * plenty,
			"supported_models": []string{gatewayModel}, "capabilities": []string{"function_calling", "json_mode", "streaming"},
		})
		if err != nil {
			return "", err
		}
		id, _ := made["id"].(string)
		ids = append(ids, id)
	}
	rule := func(priority int, name, field, operator string, value any) object {
		return object{
			"name": name, "priority": priority, "is_enabled": true,
			"conditions": []object{{"field": field, "operator": operator, "value": value}},
			"action":     object{"type": "weighted_random", "providers": []object{{"provider_id": ids[0], "weight": 3}, {"provider_id": ids[1], "weight": 1}}},
		}
	}
	if _, err := api.send(ctx, http.MethodPut, "/router/rules/visual", object{
		"rules": []object{
			rule(1, "Legal", "department", "eq", "legal"),
			rule(2, "Images", "model_capability", "includes", "vision"),
			rule(3, "Claude", "model", "regex", "^claude-"),
			rule(4, "Cheap", "cost_limit", "lt", 0.0001),
			rule(5, "Small", "model", "regex", "^gpt-4o-mini$"),
		},
		"default_rule": object{"provider_id": ids[1]},
	}); err != nil {
		return "", err
	}
	if _, err := api.send(ctx, http.MethodPut, "/router/fallback", object{"chain": []object{
		{"provider_id": ids[0], "name": "First", "priority": 1}, {"provider_id": ids[1], "name": "Second", "priority": 2},
	}}); err != nil {
		return "", err
	}
	made, err := api.send(ctx, http.MethodPost, "/keys", object{"name": "Bench", "models": []string{"gpt-*"}, "rate_limit_rpm": plenty, "budget_usd": 1_000_000})
	if err != nil {
		return "", err
	}
	key, _ = made["key"].(string)
	return key, nil
}

// administration calls Archon's API as an administrator.
type administration struct{ base, token string }

var errNotSetUp = errors.New("archon did not take the set-up")

func (a administration) send(ctx context.Context, method, path string, body object) (object, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: startTimeout}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%w: %s %s: %d %s", errNotSetUp, method, path, response.StatusCode, answer)
	}
	var envelope struct {
		Data object `json:"data"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return envelope.Data, nil
}
