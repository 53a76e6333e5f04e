# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh's and the tests'
#
# What tests share that follow a ledger (tests/agent/ledger.c) through forks and
# snapshots: sourced behind sandbox.sh.
#
#	ledger_make		have the program; before sandbox_begin
#	ledger_begin		"box", a sandbox in which it runs; $golden, which it
#				came from if it did; snapshots of the test's own
#	ask ID [N...]		ask the one in a sandbox; $answer, or 1
#	agree ID		ask, and note in `wrong` what is not as it must
#	inherit ID FROM		what sandbox or snapshot ID has in its history:
#				what FROM has said up to now
#	apart ID		it has not what "box" said last
#	draw N			$drawn, 0 to N-1, the same for the same SEED
#	blame WHAT TEXT		something of the kind WHAT is wrong
#	right WHAT NAME		a test: nothing of that kind is
#	left			what there is of sandboxes and snapshots
#
#	SEED=N			repeat a run
#
# A ledger answers with what it has committed last, and has committed that
# because it was asked.  So what one has said is never lost, in it and in all
# that comes from it later; and is never found in what came from it before, or
# in another branch, as the records are random.

ledger=$sandbox_images/ledger

# As the beginning of a test found them: somebody else's.
empty_cgroups() {
	grep -l '^populated 0' /sys/fs/cgroup/isokit/*/cgroup.events 2>/dev/null
}
empty_cgroups >"$tmp/empty"

left() {
	find "$ISO_ROOT/run" -mindepth 1 ! -name .lock ! -name .names
	find "$ISO_ROOT/snapshots" -mindepth 1 ! -name .lock ! -name .names \
		! -name .key
	pgrep -af "iso-.* .*$ISO_ROOT/"
	empty_cgroups | grep -vxFf "$tmp/empty"
	grep -F "$ISO_ROOT" /proc/mounts
}

ledger_make() {
	[ -z "${ISO_SANDBOX_HERE:-}" ] || return 0
	[ ! "$ledger" -nt tests/agent/ledger.c ] || return 0
	mkdir -p "$sandbox_images"
	musl-gcc -std=gnu17 -D_GNU_SOURCE -static -Os -Wall -Wextra \
		-idirafter /usr/include \
		-idirafter /usr/include/x86_64-linux-gnu \
		-o "$tmp/ledger" tests/agent/ledger.c &&
		mv "$tmp/ledger" "$ledger" && return
	echo 'Bail out! cannot make the ledger'
	exit 1
}

ledger_begin() {
	: "${SEED:=$RANDOM}"
	echo "# SEED=$SEED"
	RANDOM=$SEED
	# Snapshots of its own.
	rm "$ISO_ROOT/golden" "$ISO_ROOT/snapshots"
	# Where a boot takes long, one and not two.
	# shellcheck disable=SC2046
	box_begin $(count --cold '' '')
	golden=$(iso-snap --list -q)
	iso-cp -p "$ledger" box:/root/ledger 2>"$err" &&
		iso-exec box -- /root/ledger run /root 2>"$err" && agree "$box"
	ok $? 'a ledger in it'
	[ "$failed" -eq 0 ] && [ -z "${wrong[*]}" ] && return
	echo "Bail out! no ledger: ${wrong[*]}"
	exit 1
}

draw() { drawn=$((RANDOM % $1)); }

declare -A wrong
blame() {
	wrong[$1]+="$step: $2"$'\n'
	echo "# $step: $1: $2"
}

right() { is "${wrong[$1]:-}" '' "$2"; }

# What each has said, and what it must never have: a number, and a checksum.
declare -A said_n said_sum never_n never_sum
step=0 asked=0

inherit() {
	said_n[$1]=${said_n[$2]}
	said_sum[$1]=${said_sum[$2]}
	never_n[$1]=0
	never_sum[$1]=none
}

apart() {
	never_n[$1]=${said_n[$box]}
	never_sum[$1]=${said_sum[$box]}
}

forget() { unset "said_n[$1]" "said_sum[$1]" "never_n[$1]" "never_sum[$1]"; }

ask() {
	asked=$((asked + 1))
	answer=$(iso-exec "$1" -- /root/ledger ask /root "${@:2}" \
		2>"$err" </dev/null)
}

# same ID: memory and disk, by the answer.
same() {
	local n sum disk_n disk_sum rest stale bad
	read -r n sum disk_n disk_sum rest stale bad _ <<<"$answer"
	[ "$n $sum 0 0" = "$disk_n $disk_sum $rest $stale" ] ||
		blame disk "$1: $n records, $disk_n on disk, $answer"
	[ "$bad" = 0 ] || blame memory "$1: $bad pages are wrong"
}

agree() {
	local n sum old never
	ask "$1" "${said_n[$1]:-0}" "${never_n[$1]:-0}" || {
		blame silent "$1: $(cat "$err") $answer"
		return 1
	}
	same "$1"
	read -r n sum _ _ _ _ _ old never <<<"$answer"
	[ "${said_n[$1]:-0}" = 0 ] || [ "$old" = "${said_sum[$1]}" ] ||
		blame lost "$1: record ${said_n[$1]} of $n is $old, not ${said_sum[$1]}"
	[ "$never" != "${never_sum[$1]:-none}" ] ||
		blame mixed "$1: record ${never_n[$1]} is another's"
	said_n[$1]=$n
	said_sum[$1]=$sum
}
