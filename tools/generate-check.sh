#!/bin/sh
# Fails when `go generate` changes anything: a generated file is stale, or was edited by hand. It compares the tree
# before and after, so changes that are not committed yet don't matter.
set -eu

tree() {
	git diff --no-ext-diff HEAD
	git ls-files --others --exclude-standard | while IFS= read -r file; do
		printf '%s %s\n' "$(git hash-object "$file")" "$file"
	done
}

before=$(tree)
go generate ./...
after=$(tree)

if [ "$before" != "$after" ]; then
	echo 'generate:check: generated files were stale; they are up to date now, commit them:' >&2
	git status --short >&2
	exit 1
fi
echo 'generate:check: generated files are up to date'
