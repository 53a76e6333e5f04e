#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Much through one sandbox: bytes, commands at once, commands in a row, and what
# grows with them.  See tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox
box_begin --cold

# ---- bytes -------------------------------------------------------------------

# bytes MIB: no two MiB alike, at hardly any cost.
cat >"$tmp/bytes.py" <<'PY'
import random, sys
piece = random.Random(1).randbytes(1 << 20)
for i in range(int(sys.argv[1])):
    sys.stdout.buffer.write(i.to_bytes(8, "little") + piece[8:])
PY
bytes() { python3 "$tmp/bytes.py" "$1"; }
mib=$(count 8 1024 1024)
is "$(bytes "$mib" | iso-exec box cat | sha256sum)" \
	"$(bytes "$mib" | sha256sum)" \
	"$mib MiB into a command and out of it: the same digest"
sum=$(bytes 4 | sha256sum)
box 'cat >/tmp/f' < <(bytes 4)
is "$(box 'cat /tmp/f & cat /tmp/f >&2; wait' 2>&1 >"$out" | sha256sum)" \
	"$sum" '4 MiB on stderr'
is "$(sha256sum <"$out")" "$sum" 'beside 4 MiB on stdout'

# ---- commands ----------------------------------------------------------------

# Each says its number, waits for the end of its input, and ends with it: all
# have been there before any goes.
mkfifo "$tmp/fifo" "$tmp/gate"
exec 4<>"$tmp/gate"
seq 100 | xargs -P 100 -I{} sh -c \
	'iso-exec box -- sh -c "echo {}; cat; exit {}" <"$0"; [ $? = {} ]' \
	"$tmp/gate" >"$tmp/fifo" 2>"$err" 4>&- &
run=$!
exec 3<"$tmp/fifo"
for _ in $(seq 100); do
	read -r line <&3
	echo "$line"
done >"$out"
is "$(box 'ls -d /sys/fs/cgroup/user/command.* | wc -l')" 101 \
	'100 commands at once'
is "$(sort -n "$out" | xargs)" "$(seq 100 | xargs)" 'each with its own bytes'
exec 4>&-
wait $run
is $? 0 'and its own status'
exec 3<&-

# Memory and descriptors of the agent and of the monitor, before and after.
agent() {
	box 'grep VmRSS /proc/1/status | tr -dc 0-9
		echo " $(ls /proc/1/fd | wc -l)"'
}
fds() { find "/proc/$1/fd" -type l | wc -l; }
n=$(count 60 2000 10000)
pid=$(monitor box)
read -r agent_kib agent_fds <<<"$(agent)"
kib=$(monitor_kib "$pid")
fds=$(fds "$pid")
seq "$n" | xargs -P 4 -I{} iso-exec box true >"$out" 2>"$err"
is "$?:$(cat "$err")" 0: "$n commands, four at a time"
read -r agent_kib2 agent_fds2 <<<"$(agent)"
kib2=$(monitor_kib "$pid")
echo "# agent $agent_kib KiB, $agent_fds descriptors; then $agent_kib2, $agent_fds2"
echo "# monitor $kib KiB, $fds descriptors; then $kib2, $(fds "$pid")"
[ "$agent_kib2" -le $((agent_kib + 64)) ]
ok $? 'the agent has not grown'
is "$agent_fds2" "$agent_fds" 'nor have its descriptors'
[ "$kib2" -le $((kib + 256)) ]
ok $? 'nor has the monitor'
is "$(fds "$pid")" "$fds" 'nor its descriptors'
is "$(box 'ls -d /sys/fs/cgroup/user/command.* | wc -l')" 1 \
	'and one cgroup is there, of the command that looks'
is "$(box 'ps -o args | grep -vE "^\[|^\{|ps -o|COMMAND"' | wc -l)" 1 \
	'and no process but the agent'
done_testing
