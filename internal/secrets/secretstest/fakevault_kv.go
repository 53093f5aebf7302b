package secretstest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	fakeMount = "secret"
	// fakeMaxVersions is KV version 2's default.
	fakeMaxVersions = 10
)

type request struct {
	method, path string
	query        url.Values
	body         map[string]any
}

type fakeSecret struct {
	current  int
	created  time.Time
	versions map[int]*fakeVersion
}

type fakeVersion struct {
	created   time.Time
	deleted   time.Time
	destroyed bool
	data      map[string]any
}

// serveKV serves the paths below the mount.
func (f *FakeVault) serveKV(now faults, r request) answer {
	kind, path, _ := strings.Cut(r.path, "/")
	isWrite := r.method == http.MethodPut || r.method == http.MethodPost

	switch {
	case kind == "data" && r.method == http.MethodGet:
		return f.readKV(path, r.query)
	case kind == "data" && isWrite:
		return f.writeKV(now, path, r.body)
	case kind == "data" && r.method == http.MethodDelete:
		return f.eachVersion(path, []int{f.currentVersion(path)}, softDelete)
	case kind == "metadata" && r.method == http.MethodGet && r.query.Get("list") == "true":
		return f.listKV(path)
	case kind == "metadata" && r.method == http.MethodGet:
		return f.metadataKV(path)
	case kind == "metadata" && r.method == http.MethodDelete:
		delete(f.kv, path)

		return answer{status: http.StatusNoContent}
	case kind == "destroy" && isWrite:
		return f.eachVersion(path, numbers(r.body["versions"]), func(v *fakeVersion) { v.destroyed, v.data = true, nil })
	case kind == "delete" && isWrite:
		return f.eachVersion(path, numbers(r.body["versions"]), softDelete)
	case kind == "undelete" && isWrite:
		return f.eachVersion(path, numbers(r.body["versions"]), func(v *fakeVersion) { v.deleted = time.Time{} })
	default:
		return answer{status: http.StatusNotFound, frame: map[string]any{"data": nil, "warnings": []string{
			"Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use.",
		}}}
	}
}

func softDelete(v *fakeVersion) { v.deleted = time.Now() }

func (f *FakeVault) currentVersion(path string) int {
	if secret := f.kv[path]; secret != nil {
		return secret.current
	}

	return 0
}

func (f *FakeVault) readKV(path string, query url.Values) answer {
	secret := f.kv[path]
	if secret == nil {
		return refuse(http.StatusNotFound)
	}

	number := secret.current
	if asked, err := strconv.Atoi(query.Get("version")); err == nil && asked > 0 {
		number = asked
	}

	version := secret.versions[number]
	if version == nil {
		return refuse(http.StatusNotFound)
	}

	frame := map[string]any{"data": nil, "metadata": version.metadata(number)}
	if version.destroyed || !version.deleted.IsZero() {
		return answer{status: http.StatusNotFound, frame: map[string]any{"data": frame}}
	}

	frame["data"] = version.data

	return ok(frame)
}

func (f *FakeVault) writeKV(now faults, path string, body map[string]any) answer {
	data, given := body["data"].(map[string]any)
	if !given {
		return refuse(http.StatusBadRequest, "no data provided")
	}

	options, _ := body["options"].(map[string]any)
	cas, checked := options["cas"].(float64)

	switch {
	case checked && int(cas) != f.currentVersion(path):
		return refuse(http.StatusBadRequest, "check-and-set parameter did not match the current version")
	case !checked && now.casRequired:
		return refuse(http.StatusBadRequest, "check-and-set parameter required for this call")
	}

	secret := f.kv[path]
	if secret == nil {
		secret = &fakeSecret{created: time.Now(), versions: map[int]*fakeVersion{}}
		f.kv[path] = secret
	}

	secret.current++
	secret.versions[secret.current] = &fakeVersion{created: time.Now(), data: data}
	delete(secret.versions, secret.current-fakeMaxVersions)

	return ok(secret.versions[secret.current].metadata(secret.current))
}

func (f *FakeVault) eachVersion(path string, versions []int, change func(*fakeVersion)) answer {
	if len(versions) == 0 {
		return refuse(http.StatusBadRequest, "no version number provided")
	}

	if secret := f.kv[path]; secret != nil {
		for _, number := range versions {
			if version := secret.versions[number]; version != nil {
				change(version)
			}
		}
	}

	return answer{status: http.StatusNoContent}
}

func (f *FakeVault) listKV(prefix string) answer {
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, "/") + "/"
	}

	names := map[string]bool{}

	for path := range f.kv {
		rest, below := strings.CutPrefix(path, prefix)
		if !below {
			continue
		}

		name, _, isFolder := strings.Cut(rest, "/")
		if isFolder {
			name += "/"
		}

		names[name] = true
	}

	if len(names) == 0 {
		return refuse(http.StatusNotFound)
	}

	return ok(map[string]any{"keys": slices.Sorted(maps.Keys(names))})
}

func (f *FakeVault) metadataKV(path string) answer {
	secret := f.kv[path]
	if secret == nil {
		return refuse(http.StatusNotFound)
	}

	versions := map[string]any{}
	for number, version := range secret.versions {
		versions[strconv.Itoa(number)] = version.metadata(number)
	}

	return ok(map[string]any{
		"current_version": secret.current, "versions": versions, "created_time": timeText(secret.created),
		"max_versions": 0, "cas_required": false, "delete_version_after": "0s",
	})
}

func (v *fakeVersion) metadata(number int) map[string]any {
	return map[string]any{
		"version": number, "created_time": timeText(v.created), "deletion_time": timeText(v.deleted),
		"destroyed": v.destroyed, "custom_metadata": nil,
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}

	return t.UTC().Format(time.RFC3339Nano)
}

// numbers reads a list of versions.
func numbers(list any) []int {
	items, _ := list.([]any)
	found := make([]int, 0, len(items))

	for _, item := range items {
		if number, isNumber := item.(float64); isNumber {
			found = append(found, int(number))
		}
	}

	return found
}

// PutRaw writes a version whose fields need not be text, as an operator can with Vault's own tools.
func (f *FakeVault) PutRaw(path string, data map[string]any) int {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.writeKV(faults{}, path, map[string]any{"data": data})

	return f.currentVersion(path)
}
