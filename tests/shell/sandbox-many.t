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
files() { cut -f 1 /proc/sys/fs/file-nr; }

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
