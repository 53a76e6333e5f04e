#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The life of a sandbox: how it is contained, what is seen of it, and how it
# ends.  See tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox static
iso-boot -q --cold -n bare -m 128M "$(of static)" >"$tmp/id" 2>"$tmp/said" &
a=$!
iso-boot -q --cold -n live -m 96M -t 86400 "$(of busybox)" >"$tmp/id.live" 2>&1 &
b=$!
box_begin --cold
wait $a && wait $b
is "$?" 0 'and two more' || cat "$tmp/said" "$tmp/id.live"
bare=$(cat "$tmp/id")
live=$(cat "$tmp/id.live")

# ---- the monitor -------------------------------------------------------------

pid=$(monitor box)
status() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/status"; }
is "$(for k in Seccomp NoNewPrivs CapEff CapPrm CapBnd; do
	status "$pid" $k
done | xargs)" '2 1 0000000000000000 0000000000000000 0000000000000000' \
	'the monitor: seccomp, no new privileges, no capability'
uid=$(status "$pid" Uid)
[ "$uid" -ge $((0x70000000)) ] && [ "$uid" = "$(status "$pid" Gid)" ] &&
	[ "$uid" != "$(status "$(monitor bare)" Uid)" ]
ok $? 'its own user and group'
is "$(find "/proc/$pid/root/" -mindepth 1 | wc -l):$(wc -l \
	<"/proc/$pid/mountinfo")" 0:1 'its root is empty, its only mount'
same=
for ns in mnt net ipc uts; do
	[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/$$/ns/$ns")" ] ||
		same+="$ns "
done
is "$same" '' 'its namespaces are its own'
dirs=
for fd in /proc/"$pid"/fd/*; do
	[ ! -d "$fd" ] || dirs+="$(readlink "$fd") "
done
is "$dirs" '' 'it has no directory open'
like "$(cat "/proc/$pid/cgroup")" "/isokit/$box" 'its cgroup is the sandbox'"'"'s'
[ "$(cat "/sys/fs/cgroup/isokit/$box/memory.max")" -lt $((256 << 20)) ]
ok $? 'which bounds its memory'

# ---- the guest ---------------------------------------------------------------

box 'echo mine >/tmp/mine'
iso-exec --timeout 300 box sleep 4713 2>/dev/null &
is "$(iso-exec bare -- sh -c 'cat /tmp/mine; ps -o args | grep -x "sleep 4713"' \
	2>/dev/null)" '' 'two sandboxes do not see each other'
ids() {
	iso-exec "$1" -- sh -c \
		'hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id'
}
is "$( (ids box; ids bare) | sort -u | wc -l)" 6 'and share no identity'

try timeout 300 iso-exec box tail /dev/zero
is "$status" 137 'a process that takes all memory is killed'
is "$(box 'kill -9 1; echo "$? alive"' 2>"$err")" '0 alive' \
	'the agent is not, nor by root with kill -9'

# ---- what is seen of it ------------------------------------------------------

is "$(iso-ps -q | sort)" "$(printf '%s\n' "$box" "$bare" "$live" | sort)" \
	'iso-ps -q'
is "$(iso-ps -o name,state,vcpus,memory,timeout live)" \
	"live	running	1	100663296	86400" 'iso-ps -o'
is "$(iso-ps -j | jq -r '[.[] | select(.state == "running" and .cpu_us > 0 and
	.memory_used > 0 and .disk_used > 0 and .uptime >= 0) | .name] |
	sort | join(" ")')" 'bare box live' 'iso-ps --json'
like "$(iso-ps)" 'NAME' 'iso-ps for people'
refuses 2 "no field 'x'" 'a field that there is not' iso-ps -o x
refuses 1 "no sandbox 'nobody'" 'a sandbox that there is not' iso-ps nobody

iso-logs -f box >"$tmp/console" &
logs=$!
box 'printf "to-the-console \033[31m\233\r\n" >/dev/console; x=$(yes | head -n 9)'
is "$(iso-logs box | LC_ALL=C grep -ao 'to-the-console.*' | od -An -c)" \
	"$(printf 'to-the-console \033[31m\233\r\r\n' | od -An -c)" \
	'iso-logs: the bytes'
cat >"$tmp/onto.py" <<'PY'
import pty, sys
pty.spawn(sys.argv[1:])
PY
is "$(python3 "$tmp/onto.py" iso-logs box </dev/null | tr -d '\r' |
	grep -o 'to-the-console.*')" 'to-the-console \x1b[31m\x9b' \
	'but for terminals nothing that they obey'

# ---- ends --------------------------------------------------------------------

try box 'reboot -f; sleep 1000'
is "$status" 125 'a guest that restarts ends its sandbox'
like "$(cat "$err")" "$box has ended: its guest restarted" 'and that is said'
is "$(grep -c '^iso-exec: try: ' "$err"):$(wc -l <"$err")" 1:2 \
	'in a line, with a remedy'
wait $logs
is "$?:$(grep -c to-the-console "$tmp/console")" 0:1 \
	'iso-logs -f ends with it, and has shown all'
is "$(iso-ps -o state,reason,pid box)" "dead	reset	-" 'iso-ps says so'
refuses 125 'its guest restarted' 'the next command as well' iso-exec box true
refuses 1 'its guest restarted' 'or the next copy' iso-cp box:/etc "$tmp/etc"
iso-exec bare -- poweroff -f 2>"$err"
await_end bare
is "$(iso-ps -o state,reason bare)" "dead	power-off" 'a power-off'

try iso-rm --dead
is "$status:$(sort "$out" | cut -f 1)" "0:$(printf '%s\n' "$box" "$bare" |
	sort)" 'iso-rm --dead'
grep -qP '^run[0-9a-f]{16}\tcpu [0-9.]+ s\tmemory [1-9][0-9.]* MiB\tdisk [0-9.]+ MiB\tup [0-9ms]+$' \
	"$out"
ok $? 'says what they have used'
is "$(iso-ps -q)" "$live" 'and leaves the others'
refuses 1 "no sandbox 'box'" 'a second time' iso-rm box
iso-rm -f box
ok $? 'which --force forgives'

# One that is not used; and one in which a command runs that has no client: if
# the time counted nevertheless, it would be over before its power-off.
{
	iso-boot -q --cold -n idle -m 96M -t 15 "$(of busybox)" >"$tmp/id" &&
		iso-exec idle true
	await_end idle
} 2>"$tmp/said" &
a=$!
iso-boot -q --cold -n busy -m 96M -t 15 "$(of busybox)" >"$out" 2>"$err"
mkfifo "$tmp/fifo"
iso-exec -s work busy -- sh -c 'echo up; sleep 20; poweroff -f' >"$tmp/fifo" &
run=$!
exec 3<"$tmp/fifo"
read -r _ <&3
kill -KILL $run
wait $run 2>/dev/null
exec 3<&-
await_end busy
wait $a
id=$(cat "$tmp/id")
refuses 125 'has destroyed itself' \
	'--timeout: unused, it ends itself, as a command is told' \
	iso-exec idle true
is "$(iso-ps -o name,state,reason | sort | xargs)" \
	'busy dead power-off live running -' \
	'and is not listed; what runs without a client keeps it'
is "$(iso-rm -q busy; iso-rm -j live | jq -r '.[] | [.id, .state, .cpu_us > 0,
	.memory_peak > 0] | join(" ")')" "$live running true true" \
	'iso-rm --json of one that lives'
is "$(find "$ISO_ROOT/run" -mindepth 1 ! -name .lock ! -name .names)" '' \
	'no file is left'
is "$(find /sys/fs/cgroup/isokit -mindepth 1 -name "$id" -o -name "$box" \
	-o -name "$bare" -o -name "$live")" '' 'and no cgroup'
done_testing
