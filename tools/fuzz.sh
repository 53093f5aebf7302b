#!/bin/sh
# Runs every fuzz target of the project for a bounded time each: tools/fuzz.sh 10s
set -eu

fuzztime=${1:-10s}

# shellcheck disable=SC2016 # a template, not shell variables
targets=$(go list -f '{{$dir := .Dir}}{{range .TestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}' ./... |
	while IFS= read -r file; do
		[ -n "$file" ] || continue
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while IFS= read -r name; do
			printf '%s %s\n' "$name" "$(dirname "$file")"
		done
	done)

[ -n "$targets" ] || { echo 'fuzz: no fuzz targets' >&2; exit 1; }

printf '%s\n' "$targets" | while read -r name folder; do
	echo "fuzz: $name in ${folder#"$PWD"/} for $fuzztime"
	(cd "$folder" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" . </dev/null)
done
