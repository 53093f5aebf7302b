#!/bin/sh
# Checks docker-compose.yml: with `docker compose config` where there is one, and always with the library behind it.
set -eu

if docker compose version >/dev/null 2>&1; then
	docker compose -f docker-compose.yml config --quiet
	echo 'compose: checked with docker compose config'
else
	echo 'compose: no docker compose here, checked with compose-go alone'
fi
file=$PWD/docker-compose.yml
go -C tools/compose run . "$file"
