#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-snap, as far as no machine runs: snapshots listed, shown, verified, moved
# and deleted.  They are made up by make-snapshot.py.  That sandboxes are
# captured and restored is sandbox-snap.t's.
#
#	ISO_BIN			the programs (build/bin)
set -u

. tests/shell/lib.sh

export ISO_ROOT=$tmp/iso
store=$ISO_ROOT/snapshots
a=snap00000000000000aa
b=snap00000000000000ab
c=snap00000000000000c0

made() { tests/make-snapshot.py "$@"; }

# What there is besides lock, key and names.
left() { find "$store" -mindepth 1 -maxdepth 1 ! -name .lock ! -name .key ! -name .names | wc -l; }

# ---- nothing there -----------------------------------------------------------

try iso-snap --list
is "$status $(wc -l <"$out") $(wc -c <"$err")" "0 1 0" "no snapshots: a header"
try iso-snap -lq
is "$status$(cat "$out" "$err")" 0 "no ids"
try iso-snap -lj
is "$(jq -c . "$out")" "[]" "no objects"
refuses 1 "no snapshot 'base'" "none to show" iso-snap --show base
refuses 1 "no snapshot 'base'" "none to delete" iso-snap --delete base
refuses 1 "no snapshot 'base'" "none to verify" iso-snap --verify base
[ ! -e "$ISO_ROOT" ]
ok $? "nothing is made to say so"

# ---- usage -------------------------------------------------------------------

refuses 2 "wants a SANDBOX" "nothing said" iso-snap
refuses 2 "wants a SANDBOX" "two sandboxes" iso-snap a b
refuses 2 "both --list and --show" "two verbs" iso-snap --list --show x
refuses 2 "--list wants no argument" "an argument too many" iso-snap --list x
refuses 2 "--show wants a SNAPSHOT" "one too few" iso-snap --show
refuses 2 "--show wants a SNAPSHOT" "one too many" iso-snap --show a b
refuses 2 "--rollback wants" "half of a rollback" iso-snap --rollback a
refuses 2 "--name goes with another" "a name for what has one" iso-snap -n x --show a
refuses 2 "--trust goes with another" "trust in nothing" iso-snap --trust --list
refuses 2 "--json goes with another" "JSON of nothing" iso-snap -j --verify a
refuses 2 "both --json and --quiet" "two forms" iso-snap -lqj
refuses 2 "is not a name" "a bad name" iso-snap -n a/b --import
refuses 2 "looks like an id" "a misleading one" iso-snap -n snap12 --import
for to in export:output import:input; do
	# shellcheck disable=SC2086 # none or one
	script -qec "iso-snap --${to%:*} $([ $to = export:output ] && echo x)" \
		/dev/null >"$out" 2>&1
	like "$?$(cat "$out")" "2iso-snap: standard ${to#*:} is a terminal" \
		"no --${to%:*} with a terminal"
done

# ---- in ----------------------------------------------------------------------

refuses 1 "not made on this host" "one from elsewhere" iso-snap --import < <(made $a)
like "$(cat "$err")" "--trust" "the remedy"
is "$(left)" 0 "nothing is left of it"
try iso-snap --import --trust -n base < <(made $a)
is "$status $(cat "$out")" "0 $a" "it is trusted: its id is printed"
like "$(cat "$err")" "made with the processor 'Zuse Z3'" "another processor is warned of"
like "$(cat "$err")" "try: iso-pull and iso-mkrootfs of the image debian:12.1" \
	"and the root file system that is not there"
is "$(stat -c %a "$store/.key" "$store/$a" "$store/$a"/{state,memory,scratch,manifest.json} | xargs)" \
	"600 700 400 400 400 400" "modes"
is "$(stat -c %s "$store/$a/scratch") $(($(stat -c %b "$store/$a/scratch") <= 48))" \
	"$((8 << 20)) 1" "the disk is sparse"
refuses 1 "is there" "once more" iso-snap --import --trust < <(made $a)
refuses 1 "the name 'base' is that of $a" "a name that is taken" \
	iso-snap --import --trust -n base < <(made $b)
is "$(left)" 1 "nothing is left of that"
mkdir -p "$ISO_ROOT/rootfs"
rootfs=$(printf 'ab%.0s' {1..32})
echo x >"$ISO_ROOT/rootfs/$rootfs.erofs"
cpu=$(made $c | iso-snap --import --trust 2>&1 >/dev/null |
	sed -n "s/.*here is '\(.*\)'/\1/p")
iso-snap --delete $c
try iso-snap --import --trust < <(made $b cpu="\"$cpu\"" parent="\"$a\"" created=1700000001)
is "$status $(cat "$out" "$err")" "0 $b" "nothing to warn of"

# ---- refused -----------------------------------------------------------------

bad() { # bad NAME TEXT KEY=JSON...
	local name=$1 text=$2
	shift 2
	refuses 1 "$text" "$name" iso-snap --import --trust < <(made $c "$@")
}
bad "a newer format" "is of format 2" format=2
bad "no format" "'format' makes no sense" format='"1"'
bad "no configuration" "'config' makes no sense" config=null
bad "a root file system that is none" "'config' makes no sense" config.rootfs='"/etc/passwd"'
bad "an id that is another's" "it is that of $b" id="\"$b\""
bad "a parent that is none" "'parent' makes no sense" parent='"../x"'
bad "a processor that is a book" "'cpu' makes no sense" cpu="\"$(printf '%0300d' 0)\""
bad "a MAC that is none" "'mac' makes no sense" mac='""'
bad "65 GiB of memory" "'files' makes no sense" \
	files='{"state":{"size":1,"sha256":"'"$rootfs"'"},
		"memory":{"size":69793218560,"sha256":"'"$rootfs"'"},
		"scratch":{"size":1,"sha256":"'"$rootfs"'"}}'
bad "other files than it says" "does not fit the manifest" \
	files='{"state":{"size":1,"sha256":"'"$rootfs"'"},
		"memory":{"size":1,"sha256":"'"$rootfs"'"},
		"scratch":{"size":1,"sha256":"'"$rootfs"'"}}'
made $c >"$tmp/whole"
head -c 20000 "$tmp/whole" >"$tmp/cut"
refuses 1 "it ends early" "half of one" iso-snap --import --trust <"$tmp/cut"
printf x | dd of="$tmp/whole" bs=1 seek=20000 conv=notrunc status=none
refuses 1 "not what its digest says" "another byte" iso-snap --import --trust <"$tmp/whole"
refuses 1 "is no snapshot" "nothing at all" iso-snap --import --trust </dev/null
tar -C "$store" -cf "$tmp/tar" $a
refuses 1 "is no snapshot" "another tar" iso-snap --import --trust <"$tmp/tar"
is "$(left)" 2 "nothing is left of all these"

# ---- looked at ---------------------------------------------------------------

# What was read in the same tick of the clock in which it was written is not
# noted as verified; by now, it is.
try iso-snap --verify base $b
is "$status$(cat "$out" "$err")" 0 "both are sound"

try iso-snap --list
is "$(sed -n '2,$p' "$out" | sed 's/   */|/g' | cut -d'|' -f1,2,3,5 | xargs)" \
	"$a|base|verified|debian:12.1 $b|-|verified|debian:12.1" "a table, the oldest first"
is "$(awk 'NR == 3 { print $NF }' "$out")" $a "with whom one goes back to"
is "$(iso-snap -lq | xargs)" "$a $b" "ids"
try iso-snap -lj
is "$(jq -r '.[] | [.id, .name, .state, .created, .parent, .image, .vcpus, .memory,
	.disk, .golden, .imported] | join(" ")' "$out")" \
	"$a base verified 1700000000  debian:12.1 2 1048576 8388608 false true
$b  verified 1700000001 $a debian:12.1 2 1048576 8388608 false true" "objects"
try iso-snap --show base
is "$(jq -r '.id, .manifest.id, .manifest.config.kernel' "$out" | xargs)" \
	"$a $a 6.1.0" "all about one, by its name"
try iso-snap --show snap00000000000000ab
is "$(jq -r .id "$out")" $b "by its id"
refuses 1 "begins the ids of 2 snapshots" "by too little" iso-snap --show snap0

# ---- verified ----------------------------------------------------------------

chmod 600 "$store/$a/memory"
printf x | dd of="$store/$a/memory" bs=1 seek=5 conv=notrunc status=none
is "$(iso-snap -lj | jq -r '.[].state' | xargs)" "unverified verified" \
	"one was written to: it is seen without reading it"
refuses 1 "$a: 'memory' is damaged" "and with" iso-snap --verify $b $a
refuses 1 "$a: 'memory' is damaged" "it goes nowhere" iso-snap --export $a
printf x >>"$store/$a/manifest.json"
refuses 1 "$a: manifest.json is damaged" "the manifest too" iso-snap --verify $a
is "$(iso-snap -lj | jq -r '.[] | select(.id == "'$a'") | .state, .image' | xargs)" \
	"damaged null" "it is listed as what it is"
try iso-snap --delete base
is "$status $(left)" "0 1" "and can be deleted"

# ---- out ---------------------------------------------------------------------

try iso-snap --export $b
is "$status" 0 "exported"
cp "$out" "$tmp/b.tar"
(cd "$tmp" && tar xf b.tar) 2>"$err"
ok $? "tar reads it"
for f in state memory scratch manifest.json; do
	cmp "$tmp/$b/$f" "$store/$b/$f" 2>"$err"
	ok $? "$f is the same"
done
(cd "$tmp/$b" && sha256sum -c --quiet manifest.sha256) 2>"$err"
ok $? "so says sha256sum"
is $(($(stat -c %b "$tmp/$b/scratch") <= 48)) 1 "with its holes"
iso-snap --delete $b
try iso-snap --import -n back <"$tmp/b.tar"
is "$status $(cat "$out" "$err")" "0 $b" "it comes back, and needs no trust here"
try iso-snap --verify back
is "$status" 0 "sound"
refuses 1 "cannot write to standard output" "a full disk" \
	sh -c "iso-snap --export back >/dev/full"
ISO_ROOT=$tmp/other iso-snap --import --trust <"$tmp/b.tar" >/dev/null 2>&1
ISO_ROOT=$tmp/other iso-snap --verify $b 2>"$err"
ok $? "and goes elsewhere"

# ---- who needs what ----------------------------------------------------------

try iso-pull --prune
is "$status $(ls "$ISO_ROOT/rootfs")" "0 $rootfs.erofs" \
	"its root file system is not pruned"
mkdir "$store/.make.$c"
ln -s "../../rootfs/$(printf 'cd%.0s' {1..32}).erofs" "$store/.make.$c/rootfs"
for d in "$(printf 'cd%.0s' {1..32})" "$(printf 'ef%.0s' {1..32})"; do
	echo x >"$ISO_ROOT/rootfs/$d.erofs"
done
try iso-pull --prune
is "$status $(find "$ISO_ROOT/rootfs" -type f | wc -l)" "0 2" \
	"nor that of one that is being made; but another"
exec 8<"$store/$b/memory"
flock -s 8
refuses 1 "$b is in use" "one that is mapped is not deleted" iso-snap --delete back
exec 8<&-
mkdir "$ISO_ROOT/golden"
ln -s "../snapshots/$b" "$ISO_ROOT/golden/key"
is "$(iso-snap -lj | jq .[].golden)" true "a golden one"
is "$(left)" 1 "what somebody left is swept away"
try iso-snap --delete back
is "$status $(left) $(find "$ISO_ROOT/golden" "$store/.names" ! -type d | wc -l)" "0 0 0" \
	"deleted, with its name and the golden link"
try iso-pull --prune
is "$status $(find "$ISO_ROOT/rootfs" -type f | wc -l)" "0 0" \
	"and then its root file system is pruned"

# ---- the key -----------------------------------------------------------------

made $a | iso-snap --import --trust >/dev/null 2>&1
chmod 644 "$store/.key"
refuses 1 "is of mode 644" "a key that all can read" iso-snap --verify $a
chmod 600 "$store/.key"
printf '%032d' 1 >"$store/.key"
refuses 1 "the MAC is wrong" "another key" iso-snap --verify $a

done_testing
