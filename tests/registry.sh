# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Debian's docker-registry on loopback, for tests: sourced behind lib.sh.
#
#	registry_start NAME [YAML]	run one with the lines YAML added to its
#					configuration; $registry is its address
#	server_start COMMAND...		run any program that prints its port
#					first; $port
#	servers_stop			end all of them

server_pids=

# server_start COMMAND...: it says "port N" in its first such line.
server_start() {
	local fifo=$tmp/server.$RANDOM line
	mkfifo "$fifo"
	"$@" >"$fifo" 2>>"$tmp/servers.log" &
	server_pids="$server_pids $!"
	port=
	exec 9<"$fifo"
	while [ -z "$port" ] && read -r line <&9; do
		case $line in
		"port "*) port=${line#port } ;;
		esac
	done
	exec 9<&-
	rm "$fifo"
	[ -n "$port" ] || { echo "Bail out! $1 did not start"; exit 1; }
}

# The registry says where it listens in its log; it must not meet a closed pipe
# after that.
registry_run() {
	docker-registry serve "$1" 2>&1 | {
		while read -r line; do
			case $line in
			*"listening on "*)
				line=${line##*listening on }
				line=${line%%[\",]*}
				echo "port ${line##*:}"
				exec cat >>"$2"
				;;
			esac
			echo "$line" >>"$2"
		done
	}
}

registry_start() {
	local dir=$tmp/registry.$1 base=127.0.0.1
	mkdir -p "$dir"
	cat >"$dir/config.yml" <<-END
		version: 0.1
		log: {level: info}
		storage:
		  filesystem: {rootdirectory: $dir/data}
		  delete: {enabled: true}
		http:
		  addr: $base:0
		${2:-}
	END
	server_start registry_exec "$dir"
	registry=$base:$port
}

# In a process group's stead: the pid that is kept is docker-registry's own.
registry_exec() {
	python3 tests/registry-log.py "$1/log" docker-registry serve \
		"$1/config.yml"
}

servers_stop() {
	local pid
	for pid in $server_pids; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	server_pids=
}
