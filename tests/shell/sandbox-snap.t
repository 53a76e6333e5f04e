#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Golden snapshots, checkpoints, sleep: what was captured goes on as it was, or
# is refused.  Run by prove from the top of the repository, as root; see
# tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox
# Snapshots of its own.
rm "$ISO_ROOT/golden" "$ISO_ROOT/snapshots"
image=$(of busybox)

# ---- golden ------------------------------------------------------------------

n=3
for i in $(seq $n); do
	iso-boot -m 128M "$image" >"$tmp/id.$i" 2>"$tmp/err.$i" &
done
wait
is "$(cat "$tmp"/id.* | sort -u | wc -l)" $n "$n at once"
is "$(cat "$tmp"/err.* | grep -c 'golden snapshot')" 1 \
	'one makes the golden snapshot, and says so'
golden=$(iso-snap --list -q)
is "$(iso-boot --build-only -m 128M "$image")" "$golden" '--build-only finds it'
ids=$(cat "$tmp"/id.*)
for id in $ids; do
	iso-exec "$id" -- sh -c 'hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id
		head -c 16 /dev/urandom | md5sum'
done >"$out"
is "$(sort -u "$out" | wc -l)" $((4 * n)) 'nothing of identity is shared'
refuses 1 'is in use' 'it is not deleted while they live' \
	iso-snap --delete "$golden"
# shellcheck disable=SC2086
iso-rm -q $ids
try iso-boot --cold -q -m 128M -n cold "$image"
is "$status:$(jq -r .snapshot "$ISO_ROOT/run/$(cat "$out")/config.json")" 0: \
	'--cold boots'
iso-rm -q cold
refuses 2 'both --from and --memory' 'a snapshot has its size' \
	iso-boot --from "$golden" -m 1G

# What a first command wants of its memory is known, and copied beforehand.
list=$ISO_ROOT/snapshots/$golden/prefetch
listed=$(od -A n -t u4 -w8 -v -j 8 "$list" |
	awk '$2 >= 2 ^ 31 { n += $2 - 2 ^ 31 } END { print n + 0 }')
[ "$listed" -gt 50 ] && [ "$listed" -lt 4096 ]
ok $? 'pages that it writes to are listed' || echo "# $listed"
iso-boot -q -n ready -m 128M "$image" >"$out" 2>"$err"
like "$(tr '\0' ' ' <"/proc/$(monitor ready)/cmdline")" "--prefetch $list" \
	'and the monitor gets the list'
is "$(wc -c <"$ISO_ROOT/run/$(cat "$out")/vmm.log")" 0 'which it takes'
iso-rm -q ready
mv "$list" "$list.good"
echo rubbish >"$list"
iso-boot -q -n ready -m 128M "$image" >"$out" 2>"$err"
is "$(iso-exec ready echo runs)" runs 'without it a sandbox starts as well'
like "$(cat "$ISO_ROOT/run/$(cat "$out")/vmm.log")" \
	"prefetch list does not begin with 'iso-pre1'" 'and its log says why'
iso-rm -q ready
mv "$list.good" "$list"

# ---- checkpoints -------------------------------------------------------------

iso-boot -q -n one -m 128M -e WHO=me "$image" >"$out" 2>"$err"
one=$(cat "$out")
count_up='(i=0; while :; do i=$((i + 1)); echo $i >/root/.n; mv /root/.n /root/n; done)'
iso-exec one -- sh -c "mkdir -p /root; echo first >/root/file
	setsid sh -c '$count_up' >/dev/null 2>&1 </dev/null &
	until [ -s /root/n ]; do :; done; echo \$! >/root/pid"
iso-exec --session s one -- eval 'cd /tmp; V=kept'
try iso-snap -n base one
is "$status" 0 'a snapshot of a running sandbox'
snap=$(cat "$out")
[[ $snap =~ ^snap[0-9a-f]{16}$ ]]
ok $? 'prints its id' || echo "# $snap"
a=$(iso-exec one -- cat /root/n)
b=$(iso-exec one -- cat /root/n)
[ "$b" -gt "$a" ]
ok $? 'it runs on'
is "$(iso-snap --show base | jq -r .parent)" "$golden" \
	'and is known to come from the golden one'
iso-exec one -- sh -c 'echo second >/root/file'
iso-boot -q -n two --from base >"$out" 2>"$err"
iso-boot -q -n three --from "$snap" -e WHO=you >>"$out" 2>>"$err"
is "$(wc -l <"$out"):$(cat "$err")" 2: 'two sandboxes of it'
is "$(iso-exec two cat /root/file) $(iso-exec three cat /root/file) $(
	iso-exec one cat /root/file)" 'first first second' 'files as they were'
who() { iso-exec "$1" -- sh -c 'echo $WHO'; }
is "$(who two) $(who three)" 'me you' \
	'variables, and new ones over them'
is "$(iso-exec --session s two -- eval 'echo $V $(pwd)')" 'kept /tmp' 'sessions'
a=$(iso-exec two -- cat /root/n)
b=$(iso-exec two -- cat /root/n)
[ "$b" -gt "$a" ]
ok $? 'processes run'
is "$(for i in one two three; do iso-exec $i -- sh -c 'hostname
	cat /etc/machine-id /proc/sys/kernel/random/boot_id'; done | sort -u |
	wc -l)" 9 'each is somebody'
refuses 1 'is in use' 'it is not deleted under them' iso-snap --delete base

# ---- back --------------------------------------------------------------------

machine=$(iso-exec one -- cat /etc/machine-id)
try iso-snap --rollback base one
is "$status:$(cat "$out")" "0:$one" 'a sandbox is taken back to it'
is "$(iso-exec one -- cat /root/file)" first 'files'
is "$(iso-exec one -- sh -c 'hostname; cat /etc/machine-id' | xargs)" \
	"one $machine" 'under its own name'
is "$(iso-ps -q | wc -l):$(find "$ISO_ROOT/run" -name '.boot.*' -o \
	-name '.gone.*')" 3: 'and nothing is left of what it was'

# ---- sleep -------------------------------------------------------------------

iso-exec one -- sh -c 'echo awake >/root/file'
pid=$(monitor one)
try iso-snap --hibernate one
is "$status:$(cat "$out")" "0:$one" 'to sleep'
! kill -0 "$pid" 2>/dev/null
ok $? 'no process is left'
is "$(iso-ps -o state one)" sleeping 'iso-ps'
refuses 125 'sleeps' 'commands are refused' iso-exec one true
is "$(iso-rm --dead; iso-ps -o state one)" sleeping 'iso-rm --dead spares it'
try iso-snap --resume one
is "$status:$(cat "$out")" "0:$one" 'and awake'
is "$(iso-exec one -- sh -c 'cat /root/file; hostname; cat /etc/machine-id' |
	xargs)" "awake one $machine" 'it is who it was'
is "$(iso-exec one -- sh -c 'kill -0 $(cat /root/pid) && echo there')" there \
	'its processes have their numbers'
t=$(iso-exec one -- date +%s)
[ $(($(date +%s) - t)) -le 5 ]
ok $? 'its clock is right' || echo "# $t, $(date +%s) here"
a=$(iso-exec one -- cat /root/n)
b=$(iso-exec one -- cat /root/n)
[ "$b" -gt "$a" ]
ok $? 'its processes run'
refuses 1 'does not sleep' 'twice' iso-snap --resume one
iso-snap -q --hibernate one >"$out" && iso-snap -q --resume one >"$out"
is "$(iso-exec one -- cat /root/file)" awake 'and again'
iso-snap -q --hibernate one >"$out"
chmod 600 "$ISO_ROOT/run/$one/hibernate.state"
printf '\377' | dd of="$ISO_ROOT/run/$one/hibernate.state" bs=1 seek=300 \
	conv=notrunc 2>/dev/null
try iso-snap --resume one
is "$status:$(iso-ps -o state one)" 1:sleeping 'a damaged one sleeps on'
like "$(cat "$err")" 'state' 'and it is said what is wrong'
iso-rm -q one two three

# ---- refused -----------------------------------------------------------------

for f in state memory scratch; do
	cp "$ISO_ROOT/snapshots/$snap/$f" "$tmp/good"
	chmod 600 "$ISO_ROOT/snapshots/$snap/$f"
	printf '\125' | dd of="$ISO_ROOT/snapshots/$snap/$f" bs=1 seek=4321 \
		conv=notrunc 2>/dev/null
	try iso-boot -q --from base
	is "$status:$(wc -c <"$out"):$(grep -c "$f" "$err")" 1:0:1 \
		"a byte of $f is another: refused by name"
	cp "$tmp/good" "$ISO_ROOT/snapshots/$snap/$f"
done
try iso-boot -q --from base
is "$status" 0 'as it was, it goes on' && iso-rm -q "$(cat "$out")"
is "$(iso-ps -q)" '' 'no half sandbox is left'
try iso-snap --delete base
is "$status:$(iso-snap --list -q)" "0:$golden" 'deleted'
refuses 1 "no snapshot 'base'" 'which is not there any more' iso-boot --from base

# ---- a golden snapshot that this machine does not take -----------------------

# Its monitor says so, as one does after a boot with another clock.
mkdir "$tmp/other"
cp -a "$(dirname "$(command -v iso-boot)")" "$tmp/other/bin"
cp -a "$(dirname "$(command -v iso-boot)")/../libexec" "$tmp/other/libexec"
vmm=$tmp/other/libexec/iso-vmm
mv "$vmm" "$vmm.real"
cat >"$vmm" <<'SH'
#!/bin/bash
for a; do
	[ "$last" != --state ] || state=$a
	[ "$last" != --ready ] || ready=$a
	last=$a
done
if [ -n "$state" ] && [ -e "$0.refuses" ]; then
	echo "state, section 'vcpu': of another machine" >&"$ready"
	exit 1
fi
exec "$0.real" "$@"
SH
chmod +x "$vmm"
try "$tmp/other/bin/iso-boot" --build-only -m 128M "$image"
was=$(cat "$out")
touch "$vmm.refuses"
try "$tmp/other/bin/iso-boot" -n other -m 128M "$image"
is "$status:$(iso-exec other echo boots 2>&1)" 0:boots \
	'refused by the monitor, it boots'
like "$(cat "$err")" 'of another machine' 'which is said'
rm "$vmm.refuses"
is "$(jq -r '"<" + .snapshot + ">"' "$ISO_ROOT/run/$(cat "$out")/config.json")" '<>' \
	'and is not of that snapshot'
iso-rm -q other
try "$tmp/other/bin/iso-boot" --build-only -m 128M "$image"
[ "$status" -eq 0 ] && [ "$(cat "$out")" != "$was" ]
ok $? 'and the next start makes a new one'
is "$(iso-snap --list -q | grep -cx "$was")" 0 'in the place of the old one'

# Who made it was killed while it was tried.
key=$(basename "$(find "$ISO_ROOT/golden" -lname "*/$(cat "$out")")")
was=$(cat "$out")
mv "$ISO_ROOT/golden/$key" "$ISO_ROOT/golden/.$key.new"
try "$tmp/other/bin/iso-boot" --build-only -m 128M "$image"
now=$(cat "$out")
is "$status:$(readlink "$ISO_ROOT/golden/$key")" "0:../snapshots/$now" \
	'what was left of one is not taken for it'
is "$(iso-snap --list -q | sort | tr '\n' ' ')" \
	"$(printf '%s\n' "$golden" "$now" | sort | tr '\n' ' ')" 'but removed'

# ---- memory ------------------------------------------------------------------

# Who writes a snapshot holds what the guest may write anew meanwhile, and both
# are charged to the sandbox: its limit is higher until then.
iso-boot -q -n limited -m 128M "$image" >"$out" 2>"$err"
was=$(cat "/sys/fs/cgroup/isokit/$(cat "$out")/memory.max")
try strace -y -e trace=write -o "$tmp/trace" iso-snap -q limited
is "$status" 0 'a snapshot, looked at'
iso-snap --delete "$(cat "$out")"
sed -n 's|.*/memory.max>, "\([0-9]*\)".*|\1|p' "$tmp/trace" >"$tmp/limits"
[ "$(head -n 1 "$tmp/limits")" -ge $((2 * was)) ]
ok $? 'there is room for what it holds' || sed 's/^/# /' "$tmp/limits"
is "$(tail -n 1 "$tmp/limits")" "$was" 'and then the limit is what it was'
iso-rm -q limited

# ---- no room -----------------------------------------------------------------

iso-boot -q -n full -m 128M "$image" >"$out" 2>"$err"
own=$ISO_ROOT
small=$tmp/small
mkdir "$small"
mount -t tmpfs -o size=16m tmpfs "$small"
cleanup() { ISO_ROOT=$own; sandbox_end; umount -l "$small" 2>/dev/null; }
mv "$own/snapshots" "$own/snapshots.all"
ln -s "$small" "$own/snapshots"
refuses 1 'No space left' 'a snapshot that has no room' iso-snap full
is "$(iso-exec full echo runs 2>&1):$(find "$small" -mindepth 1 ! -name .names \
	! -name .lock ! -name .key)" runs: 'the sandbox runs on, and nothing is left'
rm "$own/snapshots"
mv "$own/snapshots.all" "$own/snapshots"
iso-rm -q full
done_testing
