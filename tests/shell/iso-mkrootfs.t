#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-mkrootfs, whole: TAP on standard output; run by prove from the top of the
# repository, as root (it mounts what was made; on a machine whose kernel has no
# EROFS that is done in the emulated host).
#
#	ISO_BIN			the programs (build/bin)
#	ISO_TEST_IMAGES		real images (build/cache/images)
set -u

. tests/shell/lib.sh

mkrootfs=$bin/iso-mkrootfs
layers=tests/layers
images=$(realpath -m "${ISO_TEST_IMAGES:-build/cache/images}")

run() { try "$mkrootfs" -q "$@"; }
new_root() { export ISO_ROOT=$tmp/root.$1; }
sum() { sha256sum <"$1" | cut -d' ' -f1; }

# Whether there is nothing half made below $ISO_ROOT/rootfs.
whole() {
	local f
	[ -d "$ISO_ROOT/rootfs" ] || return 0
	for f in "$ISO_ROOT"/rootfs/.* "$ISO_ROOT"/rootfs/*; do
		case $f in
		*/. | */.. | *'*') ;;
		*.erofs) [ -s "${f%.erofs}.json" ] || return 1 ;;
		*.json) [ -s "${f%.json}.erofs" ] || return 1 ;;
		*) return 1 ;;
		esac
	done
}

# Where EROFS can be mounted.
there=()
if ! grep -qw erofs /proc/filesystems && ! modprobe erofs 2>/dev/null; then
	there=("$bin/iso-host" run)
	"${there[@]}" modprobe -a erofs loop
fi

# same IMAGE TREE [OPTION...]: whether the tree that the EROFS holds is that one
same() {
	local image=$1 tree=$2
	shift 2
	"${there[@]}" sh -c 'd=$(mktemp -d /tmp/XXXXXX) &&
		mount -t erofs -o ro,loop "$1" "$d" && {
			shift
			"$0" "$@" "$d"
			r=$?
			umount "$d"
			rmdir "$d"
			exit $r
		}' "$PWD/tests/tree-diff" "$image" "$@" "$tree" >"$err" 2>&1
}

# ---- the command line --------------------------------------------------------

new_root usage
refuses 2 IMAGE "an image is asked for" "$mkrootfs"
refuses 2 "--no-such" "an option that does not exist" "$mkrootfs" --no-such x
refuses 2 "max-ratio" "a number out of range" "$mkrootfs" --max-ratio 0 x
refuses 1 "is not in" "an image that was not pulled" \
	"$mkrootfs" debian:12.5
grep -q "try: iso-pull debian:12.5" "$err"
ok $? "and how to get it"
refuses 1 "" "a layout that is not there" "$mkrootfs" oci:"$tmp/none":v1
whole
ok $? "nothing is left"

# ---- the rules of layers -----------------------------------------------------

new_root corpus
mkdir "$tmp/corpus"
"$layers/corpus.py" make "$tmp/corpus" >"$tmp/list" || {
	echo "Bail out! cannot make the corpus"
	exit 1
}
: >"$tmp/made"
while IFS=$'\t' read -r name error args; do
	# shellcheck disable=SC2086 # options are words
	run $args "oci:$tmp/corpus/$name:v1"
	if [ "$error" = - ]; then
		[ "$status" -eq 0 ] && [ ! -s "$err" ] && whole
		ok $? "layers, $name: a file system" &&
			printf '%s\t%s\n' "$name" "$(cat "$out")" >>"$tmp/made"
		continue
	fi
	[ "$error" != '*' ] || error=iso-mkrootfs
	[ "$status" -eq 1 ] && [ ! -s "$out" ] && whole &&
		[ "$(grep -vc ': try: ' "$err")" -eq 1 ] &&
		grep -qF -- "$error" "$err"
	ok $? "layers, $name: refused, and nothing is left"
done <"$tmp/list"

"${there[@]}" python3 "$layers/corpus.py" check-all "$tmp/made" >"$err" 2>&1
ok $? "the trees are those that the rules ask for: all $(wc -l <"$tmp/made")"
while IFS=$'\t' read -r name image; do
	fsck.erofs --extract "$image" >/dev/null 2>"$err" || echo "$name"
done <"$tmp/made" >"$tmp/bad"
is "$(cat "$tmp/bad")" "" "fsck.erofs reads all of them"
"$layers/corpus.py" umoci "$tmp/corpus" >"$tmp/umoci" 2>&1
ok $? "umoci makes the same trees, but for those it is known to differ in" ||
	grep NOT "$tmp/umoci" | sed 's/^/# /'

# ---- what it makes -----------------------------------------------------------

"$layers/real" busybox python || {
	echo "Bail out! cannot make real images"
	exit 1
}
new_root 1
image=oci:$images/busybox.oci:v1
try "$mkrootfs" "$image"
is "$status" 0 "a real image"
rootfs=$(cat "$out")
like "$(cat "$err")" "unpacking: done" "says on standard error what it does"
digest=$(jq -r '.manifests[0].digest' "$images/busybox.oci/index.json")
is "$rootfs" "$ISO_ROOT/rootfs/${digest#sha256:}.erofs" \
	"prints the path, named by the manifest's digest"
is $(($(stat -c %s "$rootfs") % (2 << 20))) 0 "padded to 2 MiB"
is "$(dump.erofs "$rootfs" | sed -n 's/.*UUID: *//p' | cut -c1-8)" \
	"$(echo "${digest#sha256:}" | cut -c1-8)" "the UUID is the digest's"
record=${rootfs%.erofs}.json
is "$(jq -r '.manifest + " " + .compression + " " + (.env | join(","))' \
	"$record")" "$digest none PATH=/usr/bin:/bin" "the record, for the runtime"
is "$(jq -r .sha256 "$record")" "$(sum "$rootfs")" "has the file's digest"
is "$(jq -r '.size' "$record")" "$(stat -c %s "$rootfs")" "and its size"
is "$(jq -r '.layers[0].diff_id' "$record")" "$(jq -r '.rootfs.diff_ids[0]' \
	"$images/busybox.oci/blobs/sha256/$(jq -r .config.digest \
	"$images/busybox.oci/blobs/sha256/${digest#sha256:}" | cut -c8-)")" \
	"and the layers"

before=$(stat -c '%i %y' "$rootfs" "$record")
run "$image"
is "$(cat "$out")" "$rootfs" "again: the same path"
is "$(stat -c '%i %y' "$rootfs" "$record")" "$before" "and nothing is written"
run --json "$digest"
is "$(jq -r '.path, .built' "$out" | xargs)" "$rootfs false" "--json, by digest"
run -f "$image"
is "$(cat "$out")" "$rootfs" "--rebuild makes it again"
[ "$(stat -c '%i %y' "$rootfs" "$record")" != "$before" ]
ok $? "and puts it in place of the old one"
is "$(sum "$rootfs")" "$(jq -r .sha256 "$record")" "with the same bytes"

truncate -s 4096 "$rootfs"
run "$image"
is "$(stat -c %s "$rootfs")" "$(jq -r .size "$record")" \
	"a file of another size than its record says is made again"
rm "$record"
run "$image"
[ -s "$record" ]
ok $? "so is one without a record"
echo '{"format": 99}' >"$record"
run "$image"
is "$(jq -r .format "$record")" 1 "or with a record of another kind"
run --verify "$image"
is "$status" 0 "--verify reads all of it"
dd if=/dev/zero of="$rootfs" bs=4096 count=1 conv=notrunc 2>/dev/null
run --verify "$image"
is "$status" 1 "and sees when it is damaged"
run -f "$image"

# ---- real images, against umoci ----------------------------------------------

rm -rf "$tmp/bundle"
for name in busybox python; do
	run "oci:$images/$name.oci:v1"
	rootfs=$(cat "$out")
	umoci unpack --image "$images/$name.oci:v1" "$tmp/bundle" 2>"$err"
	ok $? "umoci unpacks $name"
	# The root has no entry in this one: then umoci leaves the present time.
	same "$rootfs" "$tmp/bundle/rootfs" -x .=mtime
	ok $? "$name: $(find "$tmp/bundle/rootfs" | wc -l) entries are the same"
	rm -rf "$tmp/bundle"
	fsck.erofs --extract "$rootfs" >/dev/null 2>"$err"
	ok $? "$name: fsck.erofs reads all of it"
done
python_sum=$(jq -r .sha256 "${rootfs%.erofs}.json")
is "$(sum "$rootfs")" "$python_sum" "python: the bytes are those of the record"

# ---- the same bytes on every machine -----------------------------------------

python=oci:$images/python.oci:v1
mkdir "$tmp/mnt"
for fs in tmpfs xfs ext4; do
	truncate -s 1G "$tmp/disk"
	case $fs in
	tmpfs) mount -t tmpfs none "$tmp/mnt" ;;
	*) "mkfs.$fs" -q "$tmp/disk" && mount -o loop "$tmp/disk" "$tmp/mnt" ;;
	esac
	ISO_ROOT=$tmp/mnt/iso run "$python"
	is "$(sum "$(cat "$out")")" "$python_sum" "the same bytes on $fs"
	umount "$tmp/mnt"
	rm "$tmp/disk"
done

# $tmp may lie where others cannot come.
public=$(mktemp -d /tmp/isokit-test.XXXXXX)
cleanup() { rm -rf "$public"; }
mkdir -m 777 "$public/user"
chmod 755 "$public"
cp -r "$images/busybox.oci" "$mkrootfs" "$public"
user() { # user OPTION...: as nobody
	try setpriv --reuid=65534 --regid=65534 --clear-groups \
		env "ISO_ROOT=$public/user/iso" "$public/iso-mkrootfs" -q "$@" \
		"oci:$public/busybox.oci:v1"
}
user
is "$status" 0 "without root"
is "$(sum "$(cat "$out")")" "$(sum "$ISO_ROOT/rootfs/${digest#sha256:}.erofs")" \
	"the same bytes"
user -z
like "$status $(cat "$err")" "CAP_SYS_ADMIN" "-z says what it lacks"

# ---- compressed --------------------------------------------------------------

run "$image"
plain=$(stat -c %s "$(cat "$out")")
run -z "$python"
is "$status" 0 "-z"
packed=$(cat "$out")
[ $(($(stat -c %s "$packed") * 3)) -lt \
	$(($(jq .unpacked.bytes "${packed%.erofs}.json") * 2)) ]
ok $? "is smaller by a third"
is "$(jq -r .compression "${packed%.erofs}.json")" lz4hc "and says so"
umoci unpack --image "$images/python.oci:v1" "$tmp/bundle" 2>"$err"
same "$packed" "$tmp/bundle/rootfs" -x .=mtime
ok $? "and has the same tree"
rm -rf "$tmp/bundle"
first=$(sum "$packed")
run -z -f "$python"
is "$(sum "$packed")" "$first" "and always the same bytes"
run "$python"
is "$(sum "$packed")" "$python_sum" "without -z it is plain again"
[ "$plain" -gt 0 ] && whole
ok $? "nothing is left"

# ---- many at once ------------------------------------------------------------

new_root many
for i in $(seq 20); do
	"$mkrootfs" "$python" >"$tmp/many.$i" 2>"$tmp/many.$i.err" &
done
wait
is "$(cat "$tmp"/many.? "$tmp"/many.?? | sort | uniq -c | xargs | cut -d' ' -f1)" \
	20 "20 at once: twenty times the same answer"
is "$(cat "$tmp"/many.*.err | grep -c 'unpacking: done')" 1 "one build"
like "$(cat "$tmp"/many.*.err)" "waiting for another run" "the others wait"
is "$(sum "$(cat "$tmp/many.1")")" "$python_sum" "and right"
whole
ok $? "nothing is left"

# ---- killed ------------------------------------------------------------------

new_root killed
for i in $(seq 50); do
	"$mkrootfs" -q -f "$python" >/dev/null 2>&1 &
	pid=$!
	sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	for f in "$ISO_ROOT"/rootfs/*.json; do
		[ ! -e "$f" ] || [ "$(jq -r .sha256 "$f")" = \
			"$(sum "${f%.json}.erofs")" ] || echo "$i"
	done
done >"$tmp/torn"
is "$(cat "$tmp/torn")" "" "killed 50 times: what has a record is whole"
run "$python"
is "$status" 0 "then a plain run"
is "$(sum "$(cat "$out")")" "$python_sum" "is right"
mkdir -p "$ISO_ROOT/rootfs/.tmp.$(printf '%064d' 1)/x"
: >"$ISO_ROOT/rootfs/.lock.$(printf '%064d' 1)"
run -f "$image"
whole
ok $? "and what another image's killed run left is swept"

# ---- a million entries -------------------------------------------------------

# peak PROGRAM...: its largest resident set, in KiB, goes to $tmp/peak
peak() {
	python3 -c 'import resource, subprocess, sys
r = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as f:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=f)
sys.exit(r)' "$tmp/peak" "$@"
}

new_root million
"$layers/many.py" 1000000 >"$tmp/million.tar"
"$layers/layout.py" "$tmp/million" "$tmp/million.tar" >/dev/null
rm "$tmp/million.tar"
try peak "$mkrootfs" -q --json "oci:$tmp/million:v1"
is "$status" 0 "an image of a million entries"
is "$(jq .unpacked.entries "$out")" 1000000 "has them all"
[ "$(cat "$tmp/peak")" -lt 65536 ]
ok $? "and takes less than 64 MiB of memory: $(cat "$tmp/peak") KiB"
# Every file and directory, the root, and the directories that none speaks of.
is "$(dump.erofs "$(jq -r .path "$out")" | sed -n 's/.*inode count: *//p')" \
	$((1000000 + 1 + 1 + 500)) "and the file system has them"
fsck.erofs "$(jq -r .path "$out")" >/dev/null 2>"$err"
ok $? "fsck.erofs reads all of it"
whole
ok $? "nothing is left beside it"

rm -rf "$tmp/million"

# ---- zstd that reaches far back ----------------------------------------------

new_root window
head -c 48M /dev/urandom >"$tmp/data"
cat "$tmp/data" "$tmp/data" >"$tmp/twice"
tar -C "$tmp" -cf "$tmp/far.tar" twice
"$layers/layout.py" -z zstd --long 26 "$tmp/far" "$tmp/far.tar" >/dev/null
refuses 1 "33554432 bytes allowed" "a window of 64 MiB" \
	"$mkrootfs" -q "oci:$tmp/far:v1"
run --max-window 64M "oci:$tmp/far:v1"
is "$status" 0 "is taken when it is allowed"
rm -rf "$tmp/far" "$tmp/far.tar" "$tmp/data" "$tmp/twice"

# ---- not enough room ---------------------------------------------------------

mount -t tmpfs -o size=120m none "$tmp/mnt"
ISO_ROOT=$tmp/mnt/iso refuses 1 "allowed" "a disk that is too small" \
	"$mkrootfs" -q "$python"
(ISO_ROOT=$tmp/mnt/iso whole)
ok $? "nothing is left on it"
umount "$tmp/mnt"

done_testing
