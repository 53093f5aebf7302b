#!/bin/sh
# Makes sure that the machine has what Archon runs on, and installs what is missing. It changes nothing where nothing is
# missing, starts no system service, and asks no questions.
#
#   tools/setup.sh dev    PostgreSQL >= 15 server programs
#   tools/setup.sh test   the same, redis-server, a C compiler (the race detector needs cgo), ps, python3 with venv (a second
#                         implementation of the hash is checked against the published vectors), curl, and node with npm
#                         (OpenAI's own clients are driven against Archon)
#
# redis-server is no part of `dev`: without it Archon keeps that state in its own process.
set -eu

purpose=${1:-dev}
least_postgres=15

say() { printf 'setup: %s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# The same places, in the same order, in which Archon itself looks (internal/pgembed).
postgres_folders() {
	printf '%s\n' "${ARCHON_PG_BIN:-}"
	printf '%s' "$PATH" | tr ':' '\n' | while IFS= read -r folder; do
		# PATH often holds links into the folder that has all programs side by side.
		[ -x "$folder/postgres" ] && dirname "$(readlink -f "$folder/postgres" 2>/dev/null || echo "$folder/postgres")"
	done
	for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
		/usr/local/opt/postgresql@*/bin /Applications/Postgres.app/Contents/Versions/*/bin /usr/local/pgsql/bin; do
		printf '%s\n' "$folder"
	done
}

have_postgres() {
	postgres_folders | while IFS= read -r folder; do
		if [ ! -x "$folder/postgres" ] || [ ! -x "$folder/initdb" ]; then continue; fi
		major=$("$folder/postgres" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')
		if [ "${major:-0}" -ge "$least_postgres" ]; then
			echo found
			break
		fi
	done | grep -q found
}

have_redis() { have redis-server; }

# A compiler without the C library's headers is not enough, so this compiles a program.
have_compiler() {
	compiler=$(go env CC 2>/dev/null || echo cc)
	printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' |
		${compiler:-cc} -x c -o /dev/null - >/dev/null 2>&1
}

# Debian's python3 has venv in a package of its own.
have_venv() { have python3 && python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

have_node() { have node && have npm; }

missing=
have_postgres || missing="$missing postgres"
if [ "$purpose" = test ]; then
	have_redis || missing="$missing redis"
	have_compiler || missing="$missing compiler"
	have ps || missing="$missing ps"
	have_venv || missing="$missing python3"
	have curl || missing="$missing curl"
	have_node || missing="$missing node"
fi
[ -n "$missing" ] || exit 0

wants() { case " $missing " in *" $1 "*) true ;; *) false ;; esac; }

# What a person has to install by hand, as one sentence.
explain() {
	list=
	wants postgres && list="the PostgreSQL server programs (initdb and postgres), version $least_postgres or later"
	wants redis && list="${list:+$list; }redis-server, version 7"
	wants compiler && list="${list:+$list; }a C compiler with the C library's headers"
	wants ps && list="${list:+$list; }ps (procps)"
	wants python3 && list="${list:+$list; }python3 with venv"
	wants curl && list="${list:+$list; }curl"
	wants node && list="${list:+$list; }node 18 or later with npm"
	say "$1"
	say "Please install: $list. Then run this command again."
	say "PostgreSQL in an unusual place is found by ARCHON_PG_BIN=/its/bin, everything else by PATH."
	exit 1
}

# --- Debian, Ubuntu ---------------------------------------------------------------------------------------------------

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@" # nobody is there to type a password
	fi
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# Newest server package that is new enough. An older distribution has none.
postgres_package() {
	apt-cache pkgnames postgresql- | sed -n 's/^postgresql-\([0-9][0-9]\)$/\1/p' | sort -rn |
		while IFS= read -r major; do
			if [ "$major" -ge "$least_postgres" ] &&
				apt-cache policy "postgresql-$major" | grep 'Candidate:' | grep -qv '(none)'; then
				echo "postgresql-$major"
				break
			fi
		done
}

# Packages of servers like to start them. Archon runs its own, so for the time of the installation no cluster is made
# (createcluster.d) and no service is started (policy-rc.d); what was there before stays as it was.
no_cluster=/etc/postgresql-common/createcluster.d/archon-setup.conf
policy=/usr/sbin/policy-rc.d
made_policy=

hold_services() {
	as_root mkdir -p "$(dirname "$no_cluster")"
	echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
	if [ ! -e "$policy" ]; then
		made_policy=yes
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
}

release_services() {
	as_root rm -f "$no_cluster"
	[ -z "$made_policy" ] || as_root rm -f "$policy"
}

install_with_apt() {
	[ "$(id -u)" -eq 0 ] || have sudo || explain "This needs packages, but you are not root and there is no sudo."

	say "installing with apt-get:$missing"
	apt update || say "apt-get update had errors; going on with the lists that are there."

	packages=
	if wants postgres; then
		package=$(postgres_package)
		[ -n "$package" ] || explain "This distribution has no PostgreSQL $least_postgres or later (apt.postgresql.org has)."
		packages="$packages $package"
	fi
	wants redis && packages="$packages redis-server"
	wants compiler && packages="$packages gcc libc6-dev"
	wants ps && packages="$packages procps"
	wants python3 && packages="$packages python3 python3-venv"
	wants curl && packages="$packages curl"
	wants node && packages="$packages nodejs npm"

	trap release_services EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	hold_services
	# Maintainer scripts talk a lot; their words are shown only when something went wrong.
	log=$(mktemp)
	# shellcheck disable=SC2086 # a list of words
	if ! apt install -y --no-install-recommends $packages >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		explain "apt-get could not install$packages."
	fi
	rm -f "$log"

	# Installed for Archon's tests, so it shall not come up at the next boot either.
	if wants redis && have systemctl; then
		as_root systemctl disable redis-server >/dev/null 2>&1 || true
	fi
}

# --- macOS ------------------------------------------------------------------------------------------------------------

install_with_brew() {
	say "installing with brew:$missing"
	wants postgres && { brew install postgresql@17 || explain "brew could not install postgresql@17."; }
	wants redis && { brew install redis || explain "brew could not install redis."; }
	wants python3 && { brew install python3 || explain "brew could not install python3."; }
	wants curl && { brew install curl || explain "brew could not install curl."; }
	wants node && { brew install node || explain "brew could not install node."; }
	wants compiler && explain "The C compiler comes with Apple's tools: xcode-select --install."
	return 0
}

if have apt-get; then
	install_with_apt
elif have brew; then
	install_with_brew
else
	explain "Something is missing, and neither apt-get nor brew is here to install it."
fi

have_postgres || { missing=postgres; explain "PostgreSQL was installed but is not found."; }
if [ "$purpose" = test ]; then
	have_redis || { missing=redis; explain "redis-server was installed but is not on PATH."; }
	have_compiler || { missing=compiler; explain "A C compiler was installed but does not work."; }
fi
say "done."
