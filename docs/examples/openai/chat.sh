#!/bin/sh
# Archon with nothing but curl:
#
#   OPENAI_BASE_URL=http://localhost:8080/v1 OPENAI_API_KEY=ak_… MODEL=gpt-4o sh chat.sh
set -eu

archon() {
	path=$1
	shift
	curl -sS --fail-with-body "$OPENAI_BASE_URL/$path" -H "Authorization: Bearer $OPENAI_API_KEY" "$@"
	echo
}

archon models

archon chat/completions -H 'Content-Type: application/json' \
	-d "{\"model\": \"$MODEL\", \"messages\": [{\"role\": \"user\", \"content\": \"Say hello in three languages.\"}]}"

# -N shows each piece when it comes; the last line is `data: [DONE]`.
archon chat/completions -N -H 'Content-Type: application/json' \
	-d "{\"model\": \"$MODEL\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Say hello in three languages.\"}]}"
