package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hashicorp/vault/api"
)

var errNotUnderstood = fmt.Errorf("%w: vault's answer was not understood", ErrUnavailable)

// readVault reads a path and tells "nothing there" (ErrNotFound, with what there is of data) from "no engine there", which is a 404 as well: taking
// the one for the other would make keys look erased.
func readVault(ctx context.Context, client *api.Client, path string, query url.Values) (map[string]any, error) {
	response, err := client.Logical().ReadRawWithDataWithContext(ctx, path, query)
	if response != nil {
		defer response.Body.Close()
	}

	var refused *api.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return notFound(response, refused)
	}

	if err != nil {
		return nil, err
	}

	secret, err := api.ParseSecret(response.Body)
	if err != nil || secret == nil || secret.Data == nil {
		return nil, errNotUnderstood
	}

	return secret.Data, nil
}

// notFound reads a 404: errors in it speak of a missing mount, data is about a version that was destroyed.
func notFound(response *api.Response, refused *api.ResponseError) (map[string]any, error) {
	if refused.RawError {
		return nil, errNotUnderstood // not from Vault
	}

	if len(refused.Errors) > 0 {
		return nil, refused
	}

	secret, err := api.ParseSecret(response.Body)
	if err != nil || secret == nil {
		return nil, ErrNotFound
	}

	return secret.Data, ErrNotFound
}

// versionOf reads the number that Vault gave a version.
func versionOf(metadata map[string]any) (int, error) {
	number, _ := metadata["version"].(json.Number)

	version, err := number.Int64()
	if err != nil || version <= 0 {
		return 0, fmt.Errorf("%w: the mount is not KV version 2", ErrUnavailable)
	}

	return int(version), nil
}

// textsOf reads a value. Numbers and booleans, which an operator may have written by hand, count as their text.
func textsOf(data any) (map[string]string, error) {
	fields, ok := data.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: it is not an object", ErrCorrupt)
	}

	value := make(map[string]string, len(fields))

	for name, field := range fields {
		switch field := field.(type) {
		case string:
			value[name] = field
		case json.Number:
			value[name] = field.String()
		case bool:
			value[name] = strconv.FormatBool(field)
		default:
			return nil, fmt.Errorf("%w: a field is not text", ErrCorrupt)
		}
	}

	return value, nil
}

// namesOf reads a list of names.
func namesOf(data map[string]any) ([]string, error) {
	keys, isList := data["keys"].([]any)
	if !isList {
		return nil, errNotUnderstood
	}

	names := make([]string, 0, len(keys))

	for _, key := range keys {
		name, isText := key.(string)
		if !isText {
			return nil, errNotUnderstood
		}

		names = append(names, name)
	}

	return names, nil
}
