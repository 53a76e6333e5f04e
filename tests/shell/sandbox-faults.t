#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Sandboxes whose parts are killed, whose disks are full and whose files change
# under them.  Run by prove from the top of the repository, as root; see
# tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox

# A root file system of our own, for it is going to be broken.
share=$(realpath "$ISO_ROOT/rootfs")
rm "$ISO_ROOT/rootfs"
mkdir "$ISO_ROOT/rootfs"
digest=$(jq -r '.manifests[0].digest' "$sandbox_images/busybox.oci/index.json")
rootfs=$ISO_ROOT/rootfs/${digest#sha256:}.erofs
cp "$share/${digest#sha256:}".* "$ISO_ROOT/rootfs"
image=$(of busybox)
own=$ISO_ROOT small=''
cleanup() {
	sandbox_end
	ISO_ROOT=$own
	[ -z "$small" ] || { sandbox_end && umount -l "$small"; }
}

# A moment: the one wait by time in here, since "at any moment" is the test.
mkfifo "$tmp/never"
exec 9<>"$tmp/never"
moment() { read -r -t "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))" -u 9; }

# ---- the first, for its times ------------------------------------------------

# times: of the last that was started.  In ms: from "made" on there is a monitor,
# and until "ready" it is iso-boot's.
times() {
	made=$(jq '.us.made / 1000 | floor' "$out")
	ready=$(jq '.us.ready / 1000 | floor' "$out")
	echo "# the monitor is started after $made ms, and all is ready after $ready ms"
}
try iso-boot -q -j --cold -n keep -m 128M "$image"
is "$status" 0 'a sandbox' || { echo 'Bail out!'; exit 1; }
keep=$(jq -r .id "$out")
keep_pid=$(monitor keep)
times

# Of the files that it was made of it keeps the image, for the lock on it.
is "$(find "/proc/$keep_pid/fd" -lname '*.erofs' -o -lname '*/kernel/*' |
	wc -l)" 1 'its monitor has closed kernel and initramfs'

# What there is of sandboxes but that one: in the run directory, processes, and
# cgroups that nobody is in (one that is full may be of somebody else's tests),
# but for those that there were before.
empty_cgroups() {
	grep -l '^populated 0' /sys/fs/cgroup/isokit/*/cgroup.events 2>/dev/null
}
empty_cgroups >"$tmp/empty"
others() {
	find "$ISO_ROOT/run" -mindepth 1 -maxdepth 1 -name '*run*' \
		! -name "$keep"
	pgrep -f "iso-vmm .*$ISO_ROOT/run/" | grep -vx "$keep_pid"
	empty_cgroups | grep -vxFf "$tmp/empty"
}
lives() { is "$(iso-exec keep echo alive 2>&1)" alive "$1"; }

# ---- killed while it starts --------------------------------------------------

# killed_monitor NAME OPTION...: at moments of iso-boot, between those that were
# too early and those that were too late, which a loaded machine moves.
killed_monitor() {
	local name=$1 n hit=0 tried=0 said='' boot pid at low=$made high=$ready
	shift
	bad=''
	n=$(count 3 25 25)
	while [ "$hit" -lt "$n" ] && [ "$tried" -lt $((10 * n)) ]; do
		tried=$((tried + 1))
		[ "$low" -lt "$high" ] || { low=0 high=$((2 * ready)); }
		at=$((low + RANDOM % (high - low)))
		iso-boot -q "$@" -m 128M "$image" >"$out" 2>"$err" &
		boot=$!
		moment "$at"
		if pid=$(pgrep -P $boot -x iso-vmm); then
			kill -KILL "$pid" 2>/dev/null && hit=$((hit + 1))
		elif kill -0 $boot 2>/dev/null; then
			low=$((at + 1))
		else
			high=$at
		fi
		wait $boot
		status=$?
		said+=$(sed 's/run[0-9a-f]\{16\}/ID/g; s/;.*//' "$err")$'\n'
		if [ "$status" -eq 0 ]; then
			iso-rm -q "$(cat "$out")"
		elif [ "$status:$(grep -vc ': try: ' "$err")" != 1:1 ]; then
			bad+="$tried: $status: $(cat "$err")"
		fi
		bad+=$(others)
	done
	is "$hit $bad" "$n " \
		"the monitor killed at $n moments of $name: one line, nothing left"
	grep . <<<"$said" | sort | uniq -c | sed 's/^/#/'
}

# killed_boot NAME OPTION...: iso-boot itself.
killed_boot() {
	local name=$1 n vmm=0 boot
	shift
	bad=''
	n=$(count 3 25 25)
	for _ in $(seq "$n"); do
		iso-boot -q "$@" -m 128M "$image" >"$out" 2>"$err" &
		boot=$!
		moment $((RANDOM % ready))
		pgrep -P $boot -x iso-vmm >/dev/null && vmm=$((vmm + 1))
		kill -KILL $boot 2>/dev/null
		wait $boot 2>/dev/null
		[ ! -s "$out" ] || iso-rm -q "$(cat "$out")"
		iso-ps -q >/dev/null
		bad+=$(others)
	done
	is "$bad" '' \
		"iso-boot killed at $n moments of $name, $vmm with a monitor: the next iso-ps sweeps"
}

killed_monitor 'a cold boot' --cold
killed_boot 'a cold boot' --cold

# From here on they are restored.
iso-boot -q --build-only -m 128M "$image"
try iso-boot -q -j -m 128M "$image"
is "$status" 0 'one from a golden snapshot'
iso-rm -q "$(jq -r .id "$out")"
times
killed_monitor 'a restore'
killed_boot 'a restore'
lives 'another sandbox has not noticed'

# ---- killed while commands run -----------------------------------------------

n=$(count 3 25 25)
bad=''
for i in $(seq "$n"); do
	iso-boot -q -n "v$i" -m 128M "$image" >/dev/null 2>"$err" ||
		bad+="$i: $(cat "$err")"
	pid=$(monitor "v$i")
	iso-exec "v$i" cat </dev/zero 2>"$err" >/dev/null &
	run=$!
	moment $((RANDOM % 1500))
	kill -KILL "$pid"
	wait $run
	s="$?:$(grep -c 'has ended: its monitor was killed' "$err"):$(wc -l <"$err")"
	s+=":$(iso-ps -o state,reason "v$i" | xargs)"
	iso-exec "v$i" true 2>"$err"
	s+=":$?:$(grep -c 'its monitor was killed' "$err")"
	[ "$s" = '125:1:2:dead killed:125:1' ] || bad+="$i: $s "
	# The remover too; the next one goes on where it was.
	iso-rm -q "v$i" 2>"$err" &
	moment $((RANDOM % 500))
	kill -KILL $! 2>/dev/null
	wait $! 2>/dev/null
	iso-rm -qf "v$i" >"$out" 2>&1 || bad+="$i: $(cat "$out")"
	bad+=$(others)
done
is "$bad" '' "the monitor and iso-rm killed at $n moments: 125, a line, nothing left"
lives 'another sandbox has not noticed'

# ---- the agent ---------------------------------------------------------------

iso-boot -q -n agent -m 128M "$image" >/dev/null
# Its code, overwritten; by kill it cannot be, as it is the first process.
try iso-exec agent -- sh -c 'kill -SEGV 1; kill -KILL 1
	set -- $(grep r-xp /proc/1/maps | head -n 1 | tr - " ")
	dd if=/dev/zero of=/proc/1/mem bs=4096 seek=$((0x$1 / 4096)) \
		count=$(((0x$2 - 0x$1) / 4096)) conv=notrunc 2>/dev/null
	echo for it to wake up; sleep 1000'
is "$status" 125 'an agent that crashes ends its sandbox'
like "$(cat "$err")" 'has ended: its guest restarted' 'and that is said'
like "$(iso-logs agent)" 'Attempted to kill init' 'its console says why'
iso-rm -q agent
lives 'another sandbox has not noticed'

# ---- full disks --------------------------------------------------------------

iso-boot -q -n full -m 128M -d 64M "$image" >/dev/null
try iso-exec full dd if=/dev/zero of=/big bs=1M
is "$status:$(grep -c 'No space left on device' "$err")" 1:1 \
	'the guest'"'"'s disk is full: ENOSPC'
is "$(iso-exec full -- sh -c 'rm /big; echo text >/f; cat /f')" text \
	'with room again it is written to'
iso-rm -q full

small=$tmp/small
mkdir "$small"
mount -t tmpfs -o size=24m tmpfs "$small"
ln -s "$ISO_ROOT/images" "$ISO_ROOT/kernel" "$ISO_ROOT/rootfs" "$small"
ISO_ROOT=$small
try iso-boot -n host -m 128M -d 256M "$image"
is "$status" 0 'a disk on a file system without reflinks'
like "$(cat "$err")" 'cannot share data' 'which is said'
try iso-exec host dd if=/dev/urandom of=/big bs=1M count=64 conv=fsync
is "$status:$(grep -cE 'I/O error|Input/output error' "$err")" 1:1 \
	'what does not fit on it is an I/O error'
is "$(df --output=avail "$small" | tail -n 1 | xargs)" 0 \
	'the host'"'"'s disk is full'
is "$(iso-exec host echo alive 2>&1)" alive 'and the sandbox lives'
try iso-logs --vmm host
like "$(cat "$out")" 'blk: cannot write: No space left on device' \
	'its monitor has said so'
[ "$(wc -l <"$out")" -le 40 ]
ok $? 'and not for each request'
refuses 1 'No space' 'no second sandbox' iso-boot -q -m 128M "$image"
is "$(iso-ps -o name,state)" 'host	running' 'and nothing left of it'
iso-exec host poweroff -f >"$out" 2>&1
await_end host
is "$(iso-ps -o state,reason host)" 'dead	power-off' \
	'nor has it lost what its end was'
try iso-rm host
is "$status" 0 'iso-rm'
is "$(find "$small/run" -mindepth 1 ! -name .lock ! -name .names)" '' \
	'with all its files'
ISO_ROOT=$own
umount "$small"
small=''
lives 'another sandbox has not noticed'

# ---- the image changes -------------------------------------------------------

# "keep" has mapped the file that is there now; the next ones, a copy of it.
cp "$rootfs" "$rootfs.new"
mv "$rootfs.new" "$rootfs"
iso-boot -q -n cut -m 128M "$image" >/dev/null
truncate -s 4096 "$rootfs"
try timeout 300 iso-exec cut -- sh -c 'md5sum /bin/busybox; cat /bin/*'
is "$status" 125 'an image that is cut short ends the sandbox'
like "$(cat "$err")" 'a file behind it was cut short' 'and that is said'
is "$(iso-ps -o state,reason cut)" 'dead	error' 'also afterwards'
is "$(iso-logs --vmm cut | wc -l)" 1 'its monitor said one line'
lives 'another sandbox has not noticed'
iso-rm -q cut
try iso-boot -q -n again -m 128M "$image"
is "$status" 0 'the next boot makes the image again'

dd if=/dev/urandom of="$rootfs" bs=4096 seek=1 conv=notrunc \
	count=$(($(stat -c %s "$rootfs") / 4096 - 1)) 2>/dev/null
timeout 300 iso-exec again -- sh -c 'md5sum /bin/busybox; ls /bin' \
	>"$out" 2>"$err"
[ $? -ne 124 ]
ok $? 'an image that is overwritten: the command ends, somehow'
try iso-rm -q again
is "$status:$(cat "$err")" 0: 'and the sandbox is removed'
cp "$share/${digest#sha256:}".* "$ISO_ROOT/rootfs"
lives 'another sandbox has not noticed'
done_testing
