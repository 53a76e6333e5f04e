#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Copies of running sandboxes: who they are, what they have, and that all of
# them come to be or none.  Run by prove from the top of the repository, as
# root; see tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin python

# ---- one, and what it does while it is copied --------------------------------

iso-boot -q -n one -m 256M -e WHO=parent "$(of python)" >"$out" 2>"$err"
ok $? 'a sandbox' || { echo 'Bail out! no sandbox'; exit 1; }
one=$(cat "$out")

# A process that looks all the time at what must differ.  Each line is made
# before the next one is begun, so what it saw first in a copy is the first line
# of which it is true.
cat >"$tmp/watch.py" <<'PY'
import os, socket
boot = open("/proc/sys/kernel/random/boot_id")
out = open("/root/log", "w", buffering=1)
urandom = os.open("/dev/urandom", os.O_RDONLY)
while True:
    boot.seek(0)
    out.write(f"{socket.gethostname()} {boot.read().strip()} "
              f"{os.read(urandom, 8).hex()} {os.urandom(8).hex()}\n")
PY
iso-cp "$tmp/watch.py" one:/root/watch.py
iso-exec one -- sh -c 'echo before >/root/file
	setsid python3 /root/watch.py >/dev/null 2>&1 </dev/null &
	until [ -s /root/log ]; do :; done'
iso-exec --session kept one -- eval 'cd /usr; V=session'
iso-exec one sleep 4713 &
client=$!

n=$(count 5 100 100)
try iso-fork --json -n "$n" one
is "$status" 0 "$n copies" || { cat "$err"; echo 'Bail out!'; exit 1; }
jq -r '.ids[]' "$out" >"$tmp/ids"
jq -c .us "$out" | sed 's/^/# us: /'
is "$(sort -u "$tmp/ids" | wc -l)" "$n" 'each with an id of its own'
is "$(iso-ps -q | sort | xargs)" "$(sort <(echo "$one") "$tmp/ids" | xargs)" \
	'all of them are listed'
is "$(jq -r .parent "$ISO_ROOT/run/$(head -n 1 "$tmp/ids")/config.json")" \
	"$one" 'and say whose copies they are'

# ---- who they are ------------------------------------------------------------

all() { cat "$tmp/ids"; echo "$one"; }
each() { all | xargs -P 4 -I{} sh -c "$1" {}; }
is "$(each 'iso-exec $0 -- hostname' | sort)" \
	"$( (cat "$tmp/ids"; echo one) | sort)" 'host names'
is "$(each 'iso-exec $0 -- cat /etc/machine-id' | sort -u | wc -l)" \
	$((n + 1)) 'machine ids'
is "$(each 'iso-exec $0 -- cat /proc/sys/kernel/random/boot_id' | sort -u |
	wc -l)" $((n + 1)) 'boot ids'
# Time of day, asked for on both sides.
each 'a=$(date +%s); t=$(iso-exec $0 -- date +%s); b=$(date +%s)
	[ "$t" -ge "$a" ] && [ "$t" -le "$b" ] || echo "$a $t $b"' >"$out"
is "$(cat "$out")" '' 'clocks are right'

# What the process saw.
whole() {
	awk -v id="$1" 'NR == 1 { boot = $2 }
		{ host_new = $1 == id; boot_new = $2 != boot }
		!host_new && $1 != "one" || host_new && !boot_new ||
		seen && !host_new { print "mixed: " $0 }
		boot_new { seen = 1 }' "$2"
}
while read -r id; do
	iso-exec "$id" -- cat /root/log >"$tmp/log.$id"
	grep -c '^one ' "$tmp/log.$id" >>"$tmp/before"
	grep "^$id " "$tmp/log.$id" >>"$tmp/after"
	# Nothing between who it was and who it is.  A line takes more than one
	# call, so one line may have been begun before and ended after: the host
	# name, asked for first, of old, and all that follows of new.
	whole "$id" "$tmp/log.$id" >>"$tmp/mixed"
	[ "$(grep -c "^$id " "$tmp/log.$id")" -gt 0 ] || echo none >>"$tmp/mixed"
done <"$tmp/ids"
is "$(cat "$tmp/mixed")" '' 'no process saw a half-made identity'
is "$(sort -u "$tmp/before" | wc -l)" 1 \
	'nor ran one instruction as its parent'
iso-exec one -- tail -n +"$(head -n 1 "$tmp/before")" /root/log >"$tmp/parent"
cut -d' ' -f3,4 "$tmp/after" | tr ' ' '\n' | sort >"$tmp/random"
tail -n +2 "$tmp/parent" | cut -d' ' -f3,4 | tr ' ' '\n' | sort \
	>>"$tmp/random"
is "$(sort "$tmp/random" | uniq -d | wc -l)" 0 \
	"no random number of $(wc -l <"$tmp/random") came twice, from the first"

# ---- what they have ----------------------------------------------------------

copy=$(head -n 1 "$tmp/ids")
is "$(iso-exec "$copy" -- cat /root/file)" before 'files'
is "$(iso-exec "$copy" -- printenv WHO)" parent 'the environment'
is "$(iso-exec --session kept "$copy" -- eval 'echo $V $(pwd)')" 'session /usr' \
	'sessions'
# runs ID COMMAND: how many processes have that command line.
runs() {
	iso-exec "$1" -- python3 -c 'import glob, sys
n = 0
for name in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        n += open(name).read().split("\0")[:-1] == sys.argv[1:]
    except OSError:
        pass
print(n)' "${@:2}"
}
is "$(runs "$copy" python3 /root/watch.py)" 1 \
	'what was detached'
is "$(runs "$copy" sleep 4713)" 0 \
	'not what runs for a client, which is the parent'"'"'s'
is "$(runs one sleep 4713)" 1 'where it goes on'
iso-exec "$copy" -- sh -c 'echo copy >/root/file'
iso-exec one -- sh -c 'echo parent >/root/file'
second=$(tail -n 1 "$tmp/ids")
is "$(iso-exec "$copy" cat /root/file) $(iso-exec one cat /root/file) $(
	iso-exec "$second" cat /root/file)" 'copy parent before' \
	'from then on each has its own disk'

# ---- copies of copies --------------------------------------------------------

try iso-fork "$copy"
third=$(cat "$out")
try iso-fork "$third"
fourth=$(cat "$out")
is "$(iso-exec "$fourth" -- sh -c 'hostname; cat /root/file' | xargs)" \
	"$fourth copy" 'a copy of a copy of a copy'
iso-rm -q "$copy" "$third"
is "$(iso-exec "$fourth" -- cat /root/file)" copy 'which outlives them'

# Nobody looks at what they see any more.
# shellcheck disable=SC2046
iso-rm -q $(tail -n +2 "$tmp/ids") "$fourth"
iso-exec one -- python3 -c 'import glob, os, signal
for name in glob.glob("/proc/[0-9]*/cmdline"):
    if b"/root/watch.py" in open(name, "rb").read().split(b"\0"):
        os.kill(int(name.split("/")[2]), signal.SIGKILL)'

# ---- whose memory it is ------------------------------------------------------

# What copies hold of it stays charged to who wrote it, also when that has long
# written something else there.
iso-boot -q -n writer -m 128M "$(of python)" >/dev/null 2>"$err"
ok $? 'a sandbox that writes'
limit=$(cat "/sys/fs/cgroup/isokit/$(iso-ps -q writer)/memory.max")
bad=
for i in 1 2 3 4 5 6; do
	iso-exec writer -- python3 -c 'import os
with open("/dev/shm/f", "wb") as f:
    for i in range(40):
        f.write(os.urandom(1 << 20))' 2>"$err" || bad+="write $i: $(cat "$err") "
	iso-fork -q -n 2 writer >>"$tmp/held" 2>"$err" ||
		bad+="fork $i: $(cat "$err") "
done
is "$bad" '' 'it goes on, however much of what it wrote its copies hold'
[ "$(cat "/sys/fs/cgroup/isokit/$(iso-ps -q writer)/memory.current")" -gt \
	"$limit" ]
ok $? 'which is more than its own limit'
is "$(xargs -n 1 -I{} iso-exec {} echo alive <"$tmp/held" | sort | uniq -c |
	xargs)" '12 alive' 'all of them live'
# shellcheck disable=SC2046
iso-rm -q writer $(cat "$tmp/held")

# ---- all or none -------------------------------------------------------------

before=$(iso-ps -q | sort)
mkfifo "$tmp/never"
exec 9<>"$tmp/never"
moment() { read -r -t "0.$(printf %03d "$1")" -u 9; }
n=$(count 3 50 50)
bad=
for i in $(seq "$n"); do
	iso-fork -q -n 2 one >"$out" 2>"$err" &
	pid=$!
	moment $((RANDOM % 1000))
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	xargs -r iso-rm -q <"$out"
	[ "$(iso-exec one echo alive 2>&1)" = alive ] || bad+="$i: parent "
	[ "$(iso-ps -q | sort)" = "$before" ] || bad+="$i: $(iso-ps -q | xargs) "
done
is "$bad" '' "iso-fork killed at $n moments: the parent lives, and no half copy"
find "$ISO_ROOT/run" -mindepth 1 -maxdepth 1 -name '.boot.*' -o -name '.gone.*' \
	>"$out"
is "$(cat "$out")" '' 'nothing is left of them'
refuses 1 "no sandbox 'nobody'" 'a sandbox that is not' iso-fork nobody
refuses 2 '0' 'no copies' iso-fork -n 0 one
kill $client
wait $client 2>/dev/null
kill -KILL "$(monitor one)"
await_end one
refuses 1 'monitor was killed' 'one that has ended' iso-fork one
is "$(iso-rm -q --all; iso-ps -q)" '' 'iso-rm'
done_testing
