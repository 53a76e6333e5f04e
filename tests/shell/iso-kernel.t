#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-kernel, whole: TAP on standard output; run by prove from the top of the
# repository, as root (it mounts small file systems of its own).
#
#	ISO_BIN			the programs (build/bin)
#	ISO_TEST_KERNEL_DEB	a distribution's kernel package for the last
#				part; without it iso-kernel downloads one, once,
#				into ISO_TEST_ROOT (build/cache/root)
#
# Everything but that last part is about small kernels made by make-kernel.py.
set -u

. tests/shell/lib.sh

kernel=$bin/iso-kernel

make_kernel() { python3 tests/shell/make-kernel.py "$@"; }
run() { "$kernel" -q --agent "$agent" "$@" >"$out" 2>"$err"; }
new_root() { export ISO_ROOT=$tmp/root.$1; }

# Nothing but whole things below $ISO_ROOT/kernel.
whole() {
	local d
	[ -d "$ISO_ROOT/kernel" ] || return 0
	! ls -d "$ISO_ROOT"/kernel/.tmp.* >/dev/null 2>&1 || return 1
	for d in "$ISO_ROOT"/kernel/[0-9]*; do
		[ -e "$d" ] || continue
		[ -s "$d/kernel.json" ] && [ -s "$d/vmlinux" ] || return 1
		for i in "$d"/initramfs-*.json; do
			[ ! -e "$i" ] || [ -s "${i%.json}" ] || return 1
		done
	done
}

# fails TEXT NAME -- ARG...: exit 1, one line with TEXT (and perhaps one with
# a remedy) on standard error, nothing on standard output, nothing half made.
fails() {
	local text=$1 name=$2 status good=0
	shift 3
	run "$@"
	status=$?
	[ "$status" -eq 1 ] || good=1
	[ ! -s "$out" ] || good=1
	[ "$(grep -vc '^iso-kernel: try: ' "$err")" = 1 ] || good=1
	[ "$(grep -c '^iso-kernel: try: ' "$err")" -le 1 ] || good=1
	grep -q -e "$text" "$err" || good=1
	whole || good=1
	ok $good "$name: status $status"
}

tree=$tmp/tree deb=$tmp/k.deb agent=$tmp/agent
cp /bin/busybox "$agent"
if ! { make_kernel tree "$tree" && make_kernel deb "$tree" "$deb"; }; then
	echo "Bail out! cannot make a kernel"
	exit 1
fi

# ---- what it makes -----------------------------------------------------------

new_root 1
run "$deb"
ok $? "a package is prepared"
k=$ISO_ROOT/kernel/9.9.9-test
is "$(cat "$out")" "$k/vmlinux
$k/initramfs-sandbox" "it prints the two paths"
is "$(wc -c <"$err")" 0 "it says nothing with -q"
is "$(od -An -N4 -c "$k/vmlinux" | tr -d ' ')" '177ELF' "vmlinux is ELF"
whole
ok $? "nothing is left over"

list() { cpio -i --to-stdout --quiet "$1" <"$2" 2>/dev/null; }
is "$(list profile "$k/initramfs-sandbox")" sandbox "/profile"
list init "$k/initramfs-sandbox" | cmp -s - "$agent"
ok $? "/init is the agent"
list bin/busybox "$k/initramfs-sandbox" | cmp -s - /bin/busybox
ok $? "/bin/busybox"
list modules/overlay.ko "$k/initramfs-sandbox" |
	head -c4 | cmp -s - <(printf '\177ELF')
ok $? "a compressed module goes in unpacked"
is "$(list modules/list "$k/initramfs-sandbox" | xargs)" \
	"virtio.ko virtio_ring.ko virtio_mmio.ko virtio_blk.ko virtio-rng.ko virtio_net.ko vsock.ko vmw_vsock_virtio_transport.ko crc32c_intel.ko libcrc32c.ko erofs.ko overlay.ko virtio_balloon.ko" \
	"/modules/list is in load order, without what is built in"
is "$(cpio -tv --quiet <"$k/initramfs-sandbox" |
	awk '{print $1, $3, $4}' | sort -u | xargs)" \
	"-rw-r--r-- root root -rwxr-xr-x root root crw------- root root drwxr-xr-x root root" \
	"owners and modes"

run --json --profile host "$deb"
ok $? "the other profile"
is "$(jq -r '[.version, .profile, .modules_dir, .vmlinux.path,
	.initramfs.path] | join(" ")' "$out")" \
	"9.9.9-test host $k/lib/modules/9.9.9-test $k/vmlinux $k/initramfs-host" \
	"--json names everything"
is "$(jq -r '.vmlinux.sha256, .initramfs.sha256' "$out")" \
	"$(sha256sum "$k/vmlinux" "$k/initramfs-host" | cut -d' ' -f1)" \
	"--json: the digests are true"
is "$(jq -r '.modules | join(" ")' "$out")" \
	"virtio virtio_ring virtio_pci virtio_blk virtio_console virtio_rng fuse virtiofs overlay crc32c_intel libcrc32c xfs kvm kvm_amd tun" \
	"--json: modules in load order"
! list bin/busybox "$k/initramfs-host" | grep -q .
ok $? "the host has no busybox"

stamps() { find "$ISO_ROOT" -printf '%p %i %T@ %s\n' | sort; }
before=$(stamps)
run "$deb" && run --profile host "$deb"
is "$(stamps)" "$before" "a second run writes nothing"

# ---- the same inputs, the same bytes -----------------------------------------

new_root 2
(
	umask 077
	cd / || exit 1
	cp -r "$tree" "$tmp/tree2"
	TZ=Asia/Tokyo LC_ALL=C.UTF-8 "$kernel" -q --agent "$agent" \
		"$tmp/tree2" >"$out" 2>"$err"
)
ok $? "an unpacked package is prepared"
cmp -s "$ISO_ROOT/kernel/9.9.9-test/initramfs-sandbox" "$k/initramfs-sandbox"
ok $? "same bytes from another source, root, umask, zone and locale"

new_root 1
printf 'x' >>"$agent"
old=$(sha256sum <"$k/initramfs-sandbox")
vmlinux=$(stat -c %i "$k/vmlinux")
run "$deb"
ok $? "another agent"
[ "$(sha256sum <"$k/initramfs-sandbox")" != "$old" ]
ok $? "it makes another initramfs"
is "$(stat -c %i "$k/vmlinux")" "$vmlinux" "it does not make the kernel again"
cp /bin/busybox "$agent"
run "$deb"
is "$(sha256sum <"$k/initramfs-sandbox")" "$old" "the old agent, the old bytes"

truncate -s -1 "$k/initramfs-sandbox"
run "$deb"
is "$(sha256sum <"$k/initramfs-sandbox")" "$old" "a cut initramfs is made again"
rm "$k/kernel.json"
run "$deb"
ok $? "a kernel without its record is made again"
[ -s "$k/kernel.json" ] && whole
ok $? "it is whole then"

# ---- images ------------------------------------------------------------------

for packing in gzip xz lzma bzip2 lz4 zstd; do
	new_root "image-$packing"
	make_kernel tree "$tmp/$packing" --packing $packing
	run --modules "$tmp/$packing/lib/modules/9.9.9-test" \
		"$tmp/$packing/boot/vmlinuz-9.9.9-test"
	ok $? "a bzImage packed with $packing"
	cmp -s "$ISO_ROOT/kernel/9.9.9-test/vmlinux" "$k/vmlinux"
	ok $? "it holds the same vmlinux"
done
new_root vmlinux
run --modules "$tree/lib/modules/9.9.9-test" "$k/vmlinux"
ok $? "a vmlinux"

# ---- bad input ---------------------------------------------------------------

new_root bad
head -c 100000 "$deb" >"$tmp/cut.deb"
fails 'cut.deb: damaged package' "a cut package" -- "$tmp/cut.deb"
head -c 100 "$deb" >"$tmp/cut.deb"
fails 'cut.deb: ' "a package cut in its head" -- "$tmp/cut.deb"
: >"$tmp/empty.deb"
fails 'empty.deb: not a Debian package' "an empty file" -- "$tmp/empty.deb"
echo hello >"$tmp/text.deb"
fails 'text.deb: not a Debian package' "a text file" -- "$tmp/text.deb"
mkdir "$tmp/none"
make_kernel deb "$tmp/none" "$tmp/none.deb" --package hello
fails 'package hello .* is no kernel (no boot/vmlinuz-\*)' \
	"another package" -- "$tmp/none.deb"
make_kernel deb "$tree" "$tmp/arm.deb" --arch arm64
fails 'is for arm64, expected amd64' "another architecture" -- "$tmp/arm.deb"
for evil in ../../etc/evil /etc/evil lib/modules/../../../evil \
	./lib/modules/x//evil; do
	make_kernel deb "$tree" "$tmp/evil.deb" --evil "$evil"
	fails 'unsafe path in the package' "the path $evil" -- "$tmp/evil.deb"
done
[ ! -e "$tmp/evil" ] && [ ! -e /etc/evil ]
ok $? "nothing is written outside"
fails 'nowhere: No such file' "no such file" -- "$tmp/nowhere"
fails 'nowhere: No such file' "no such modules" \
	--  --modules "$tmp/nowhere" "$tree/boot/vmlinuz-9.9.9-test"
fails 'is a kernel without its modules' "an image without modules" \
	-- "$tree/boot/vmlinuz-9.9.9-test"
mkdir -p "$tmp/9.9.8-test"
fails 'no modules for its kernel 9.9.9-test' "modules of another kernel" \
	-- --modules "$tmp/9.9.8-test" "$tree/boot/vmlinuz-9.9.9-test"
fails 'holds no boot/vmlinuz' "a directory of something else" -- "$tmp/none"

broken() { # broken WHAT TEXT
	make_kernel tree "$tmp/broken-$1" --break "$1"
	fails "$2" "a kernel with a wrong $1" -- "$tmp/broken-$1"
}
broken pvh 'has no PVH entry'
broken machine 'is not for 64-bit x86'
broken protocol 'boot protocol 2.05, expected 2.08'
broken payload 'bzImage is cut short'
broken size 'unpacks to .* expected'
make_kernel tree "$tmp/lzo" --packing lzo
fails 'neither gzip' "a kernel packed with lzo" -- "$tmp/lzo"
cp -r "$tree" "$tmp/cutimage"
truncate -s -64 "$tmp/cutimage/boot/vmlinuz-9.9.9-test"
fails 'bzImage is cut short' "a cut bzImage" -- "$tmp/cutimage"

make_kernel tree "$tmp/novirtiofs" --without virtiofs
fails 'kernel 9.9.9-test has no module virtiofs, which the host profile needs' \
	"a missing module" -- --profile host "$tmp/novirtiofs"
run --profile sandbox "$tmp/novirtiofs"
ok $? "the profile that does not need it is content"
make_kernel tree "$tmp/noballoon" --without virtio_balloon
run "$tmp/noballoon"
ok $? "an optional module may be missing"

real_agent=$agent
agent=$tmp/nowhere
fails 'cannot open agent' "no agent" -- "$deb"
agent=$tmp/text.deb
fails 'agent .* is not a program' "an agent that is no program" -- "$deb"
agent=/bin/bash
fails 'agent /bin/bash is not statically linked' "a dynamic agent" -- "$deb"
agent=$real_agent
fails 'busybox /bin/bash is not statically' "a dynamic busybox" \
	-- --busybox /bin/bash "$deb"
mkdir "$tmp/alone"
cp "$kernel" "$tmp/alone"
"$tmp/alone/iso-kernel" -q "$deb" >"$out" 2>"$err"
is "$? $(head -1 "$err")" \
	"1 iso-kernel: no agent (iso-agent) beside this program" \
	"no agent to be found"

usage() { # usage NAME -- ARG...
	local name=$1
	shift 2
	run "$@"
	is "$? $(wc -c <"$out")" "2 0" "wrong usage: $name"
}
usage "unknown option" -- --nonsense
usage "unknown profile" -- --profile moon "$deb"
usage "two kernels" -- "$deb" "$deb"
usage "--modules without a kernel" -- --modules /lib
usage "--update of a named kernel" -- --update "$deb"

# ---- places one cannot write to ----------------------------------------------

in_tmpfs() { # in_tmpfs MOUNT-OPTIONS COMMAND...
	local options=$1
	shift
	mkdir -p "$tmp/mnt"
	# shellcheck disable=SC2016 # expanded inside
	unshare -m sh -c 'mount -t tmpfs -o "$0" none "$1" && shift && "$@"' \
		"$options" "$tmp/mnt" "$@"
}
full() { # full SIZE-IN-KIB
	# shellcheck disable=SC2016 # expanded inside
	in_tmpfs "size=${1}k" sh -c '
		"$@"
		status=$?
		[ ! -d "$ISO_ROOT/kernel" ] ||
			find "$ISO_ROOT/kernel" -name ".tmp.*"
		mount -o remount,size=64m "$(dirname "$ISO_ROOT")"
		"$@" 2>/dev/null | wc -l
		exit $status' full \
		"$kernel" -q --agent "$agent" --profile host "$deb"
}
for size in 8 24 60 100 120 160 400 1600; do
	ISO_ROOT=$tmp/mnt/root full $size >"$out" 2>"$err"
	status=$?
	is "$status $(cat "$out") $(grep -c 'No space left' "$err") $(
		grep -vc '^iso-kernel: try' "$err")" "1 2 1 1" \
		"a disk of $size KiB is full: one line, nothing left, and later it works"
done
ISO_ROOT=$tmp/mnt/root
in_tmpfs ro "$kernel" -q --agent "$agent" "$deb" >"$out" 2>"$err"
is "$? $(sed "s|$tmp||" "$err" | head -1)" \
	"1 iso-kernel: cannot create /mnt/root: Read-only file system" \
	"a root that cannot be written"
ISO_ROOT=$tmp/text.deb
fails 'Not a directory' "a root that is a file" -- "$deb"

# ---- two at once, and none to the end ----------------------------------------

new_root two
make_kernel tree "$tmp/big" --pad 128 --release 9.9.9-big
make_kernel deb "$tmp/big" "$tmp/big.deb"
pids=
for i in 1 2 3; do
	"$kernel" --agent "$agent" "$tmp/big.deb" >"$out.$i" 2>"$err.$i" &
	pids="$pids $!"
done
good=0
for pid in $pids; do
	wait "$pid" || good=1
done
ok $good "three at once all succeed"
is "$(cat "$err".? | grep -c 'unpacking the kernel: done')" 1 "one of them works"
is "$(cat "$out".? | sort -u | wc -l)" 2 "they say the same"
whole
ok $? "and leave nothing else"

# Killed as soon as something can be seen of it, then a bit later each time.
good=0
for delay in 0 0.02 0.05 0.1 0.15 0.2 0.3 0.4 0.6; do
	new_root "killed-$delay"
	"$kernel" -q --agent "$agent" "$tmp/big.deb" >"$out" 2>"$err" &
	pid=$!
	while kill -0 "$pid" 2>/dev/null &&
		! ls -d "$ISO_ROOT"/kernel/.tmp.* >/dev/null 2>&1; do :; done
	sleep "$delay"
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	[ "$delay" != 0 ] ||
		ls -d "$ISO_ROOT"/kernel/.tmp.* >/dev/null 2>&1 || good=1
	run "$tmp/big.deb" && whole || good=1
	cmp -s "$ISO_ROOT/kernel/9.9.9-big/vmlinux" \
		"$tmp/root.two/kernel/9.9.9-big/vmlinux" || good=1
	rm -rf "$ISO_ROOT"
done
ok $good "killed at any point, the next run sweeps and succeeds"
new_root two
mkdir "$ISO_ROOT/kernel/.tmp.0123456789abcdef"
run "$tmp/big.deb" && whole
ok $? "a run with nothing to make sweeps, too"

# ---- the distribution's kernel -----------------------------------------------

# Stand-ins for apt's programs: they serve $tmp/apt and keep a log.
apt=$tmp/apt
mkdir -p "$apt/bin"
cat >"$apt/bin/apt-cache" <<'END'
#!/bin/sh
echo "$*" >>"$APT/log"
[ -e "$APT/release" ] || { echo "E: No packages found" >&2; exit 100; }
R=$(cat "$APT/release")
for package; do :; done
case $package in
linux-image-cloud-amd64) echo "Package: $package
Depends: linux-image-$R (= 1.0)" ;;
*) echo "Package: $package
Size: $(stat -c %s "$APT/$R.deb")" ;;
esac
END
cat >"$apt/bin/apt-get" <<'END'
#!/bin/sh
echo "$*" >>"$APT/log"
R=$(cat "$APT/release")
case "$*" in
*"linux-image-$R=1.0") ;;
*) exit 99 ;;
esac
[ -e "$APT/$R.deb" ] || { echo "E: Failed to fetch it" >&2; exit 100; }
echo "dlstatus:1:50.0:Retrieving file 1 of 1" >&3
cp "$APT/$R.deb" .
END
chmod +x "$apt/bin/apt-cache" "$apt/bin/apt-get"
for r in 9.9.9-a 9.9.10-b; do
	make_kernel tree "$tmp/dist-$r" --release $r
	make_kernel deb "$tmp/dist-$r" "$apt/$r.deb" --version 1.0 \
		--package linux-image-$r
done
export APT=$apt
PATH=$apt/bin:$PATH

new_root dist
fails 'apt knows no package linux-image-cloud-amd64' "apt knows nothing" --
grep -q 'try: apt-get update' "$err"
ok $? "the remedy is named"
echo 9.9.9-a >"$apt/release"
run
ok $? "the distribution's kernel"
is "$(readlink "$ISO_ROOT/kernel/default")" 9.9.9-a "it is the default"
rm "$apt/log"
run && run --profile host
ok $? "again"
[ ! -e "$apt/log" ]
ok $? "apt is not asked again"
run --update
is "$? $(grep -c download "$apt/log")" "0 0" "--update finds nothing newer"
echo 9.9.10-b >"$apt/release"
run --update
is "$? $(head -1 "$out")" "0 $ISO_ROOT/kernel/9.9.10-b/vmlinux" \
	"--update takes the newer one"
run
is "$(head -1 "$out")" "$ISO_ROOT/kernel/9.9.10-b/vmlinux" "and it stays"
rm "$apt/9.9.9-a.deb"
echo 9.9.9-a >"$apt/release"
fails 'cannot download linux-image-9.9.9-a=1.0: E: Failed to fetch it' \
	"a failed download" -- --update
run
is "$(head -1 "$out")" "$ISO_ROOT/kernel/9.9.10-b/vmlinux" \
	"the prepared one is still good"
PATH=${PATH#*:}

# ---- a real kernel -----------------------------------------------------------

if [ -n "${ISO_TEST_KERNEL_DEB:-}" ]; then
	new_root real
	run "$ISO_TEST_KERNEL_DEB"
	ok $? "the package $(basename "$ISO_TEST_KERNEL_DEB")"
else
	export ISO_ROOT=${ISO_TEST_ROOT:-$PWD/build/cache/root}
	run
	ok $? "the distribution's own kernel"
fi
vmlinux=$(head -1 "$out")
run --json --profile host ${ISO_TEST_KERNEL_DEB:+"$ISO_TEST_KERNEL_DEB"}
ok $? "for the emulated host"
modules=$(jq -r .modules_dir "$out")
host=$(jq -r .initramfs.path "$out")
jq -e '.modules | index("virtio_pci") < index("virtiofs") and
	index("kvm") < index("kvm_amd")' "$out" >/dev/null
ok $? "modules are in load order"
new_root again
run --json --profile host --modules "$modules" "$vmlinux"
ok $? "the same from its vmlinux and modules"
cmp -s "$host" "$(jq -r .initramfs.path "$out")"
ok $? "gives the same bytes"

done_testing
