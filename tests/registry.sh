# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # $tmp is lib.sh's
#
# Servers on loopback for tests: sourced behind lib.sh.  Each says its port in
# its log, which is waited for by inotify; they end with the test.
#
#	server_start NAME COMMAND...	run it; $port, and its log
#					$tmp/server.NAME; the first line with
#					"listening on ADDRESS:PORT" counts
#	registry_start NAME [YAML]	Debian's docker-registry, the lines YAML
#					added below "http:"; $registry is its
#					address
#	servers_stop			end all of them

server_pids=

server_start() {
	local log=$tmp/server.$1
	shift
	: >"$log"
	"$@" >"$log" 2>&1 &
	server_pids="$server_pids $!"
	port=$(tail -n +1 -f --pid=$! "$log" |
		sed -n 's/.*listening on [^ "]*:\([0-9]*\).*/\1/p;T;q')
	[ -n "$port" ] || {
		echo "Bail out! $1 did not start"
		sed 's/^/# /' "$log"
		exit 1
	}
}

registry_start() {
	local dir=$tmp/registry.$1
	mkdir -p "$dir"
	cat >"$dir/config.yml" <<-END
		version: 0.1
		log: {level: info}
		storage:
		  filesystem: {rootdirectory: $dir/data}
		http:
		  addr: 127.0.0.1:0
		  secret: test
		${2:-}
	END
	server_start "$1" docker-registry serve "$dir/config.yml"
	# shellcheck disable=SC2034 # for the test
	registry=127.0.0.1:$port
}

servers_stop() {
	local pid
	for pid in $server_pids; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	server_pids=
}
