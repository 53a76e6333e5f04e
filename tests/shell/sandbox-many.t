#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Many sandboxes: at once, and one after the other, and what is left of them.
# Run by prove from the top of the repository, as root; see tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox
image=$(of busybox)

# What there is of sandboxes: files of the run directory, processes, mounts, and
# cgroups that nobody is in (one that is full may be of somebody else's tests),
# but for those that there were before.
empty_cgroups() {
	grep -l '^populated 0' /sys/fs/cgroup/isokit/*/cgroup.events 2>/dev/null
}
empty_cgroups >"$tmp/empty"
left() {
	find "$ISO_ROOT/run" -mindepth 1 ! -name .lock ! -name .names
	pgrep -af "iso-.* .*$ISO_ROOT/"
	empty_cgroups | grep -vxFf "$tmp/empty"
	grep -F "$ISO_ROOT" /proc/mounts
}

# ---- at once -----------------------------------------------------------------

n=$(count 3 20 20)
mkdir "$tmp/many"
for i in $(seq "$n"); do
	iso-boot -q -m 96M --boot-timeout 1000 "$image" >"$tmp/many/$i" \
		2>"$tmp/many/$i.err" &
done
wait
is "$(cat "$tmp"/many/*.err)" '' "$n iso-boot at once"
rm "$tmp"/many/*.err
cat "$tmp"/many/* >"$tmp/ids"
is "$(sort -u "$tmp/ids" | wc -l)" "$n" 'each has its own id'
is "$(iso-ps -o state | grep -c running)" "$n" 'all run'
xargs -P "$n" -I{} iso-exec {} sh -c 'hostname; echo {} >/f; cat /f' \
	<"$tmp/ids" >"$out" 2>"$err"
is "$(sort "$out" | uniq -c | awk '$1 == 2' | wc -l)" "$n" \
	'each runs commands and has its own disk'
iso-rm -q --all
is "$(left)" '' 'iso-rm --all leaves no file, process, cgroup or mount'

# ---- copies, all alive at once -----------------------------------------------

n=$(count 10 100 100)
iso-boot -q -n parent -m 96M "$image" >"$out" 2>"$err"
iso-exec parent -- sh -c 'echo of the parent >/f; setsid sleep 4714 >/dev/null \
	2>&1 </dev/null &'
try iso-fork --json -n "$n" parent
is "$status" 0 "$n copies of one sandbox"
jq -c .us "$out" | sed 's/^/# us: /'
jq -r '.ids[]' "$out" >"$tmp/ids"
is "$(iso-ps -o state | grep -c running)" $((n + 1)) 'all are alive with it'
# Of each its id, then what it says of itself: its name, four numbers that only
# it has, its time (with this machine's before and after), and what it inherited.
cat >"$tmp/who" <<-'SH'
	a=$(date +%s)
	b=$(iso-exec "$1" -- sh -c 'hostname; cat /etc/machine-id
		cat /proc/sys/kernel/random/boot_id
		head -c 16 /dev/urandom | od -An -tx1 | tr -d " \n"; echo
		cat /proc/sys/kernel/random/uuid; date +%s; cat /f
		ps -o args | grep -cx "sleep 4714"' | tr '\n' '|')
	echo "$1|$b$a|$(date +%s)"
SH
xargs -P 8 -n 1 sh "$tmp/who" <"$tmp/ids" >"$tmp/said" 2>"$err"
is "$(awk -F '|' '$1 == $2' "$tmp/said" | wc -l)" "$n" 'each answers with its own name'
for i in 3 4 5 6; do
	cut -d '|' -f "$i" "$tmp/said"
done | grep -v '^$' | sort -u >"$out"
is "$(wc -l <"$out")" $((4 * n)) \
	'has its own machine id, boot id and random numbers'
is "$(awk -F '|' '$7 >= $10 && $7 <= $11' "$tmp/said" | wc -l)" "$n" \
	'the time of day'
is "$(awk -F '|' '$8 == "of the parent" && $9 == 1' "$tmp/said" | wc -l)" "$n" \
	'and the files and processes of its parent'
iso-ps -o memory_used | sort -n | awk -v n="$n" '{ v[NR] = $1 / 1048576 }
	END { printf "# memory of one: %.1f MiB; of the largest: %.1f MiB\n",
		v[int((NR + 1) / 2)], v[NR] }'
iso-rm -q --all
is "$(left)" '' 'and nothing of them is left'

# ---- one after the other, two at a time --------------------------------------

# In KiB, with nothing in caches.
memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemAvailable:" { a = $2 }
		$1 == "SUnreclaim:" { s = $2 }
		END { print a, s }' /proc/meminfo
}
state() {
	left
	find "$ISO_ROOT" | sort
	echo "$(wc -l </proc/mounts) mounts"
}
# /proc/sys/fs/file-nr is right to some 32 a processor only.
files() {
	find /proc/[0-9]*/fd -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}

n=$(count 6 40 200)
cat >"$tmp/one" <<-'SH'
	id=$(iso-boot -q -m 96M "$1") &&
		[ "$(iso-exec $id sh -c "echo $id >/f; cat /f")" = $id ] &&
		iso-rm -q $id || echo "'$id' failed"
SH
# Once before, for what stays: the template of the disk, caches of the kernel.
sh "$tmp/one" "$image" >"$out" 2>&1
state >"$tmp/before"
read -r kib slab <<<"$(memory)"
open=$(files)
seq "$n" | xargs -P 2 -I{} sh "$tmp/one" "$image" >>"$out" 2>&1
state >"$tmp/after"
read -r kib2 slab2 <<<"$(memory)"
open2=$(files)
is "$(cat "$out")" '' "$n sandboxes made, used and removed"
cmp "$tmp/before" "$tmp/after" >"$err"
ok $? 'leave no file, process, mount or cgroup' ||
	diff "$tmp/before" "$tmp/after" | sed 's/^/# /'
# Others than we open files and take memory, but not each time.
echo "# open files on this machine: $open, then $open2"
[ "$open2" -lt $((open + n)) ]
ok $? 'nor a descriptor'
echo "# MemAvailable $kib KiB, then $kib2 KiB; slab $slab KiB, then $slab2 KiB"
[ "$kib2" -gt $((kib - 65536)) ]
ok $? 'nor memory'
done_testing
