#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Nothing is lost: a sandbox goes through random steps (copies, snapshots, sleep,
# and back to what it was) while a program in it writes to disk and to memory.
# After each step both agree, and all that was committed is there.  Run by prove
# from the top of the repository, as root; see tests/sandbox.sh, and
# tests/ledger.sh for SEED.
# shellcheck disable=SC2317 # commands of `did`
set -u -o pipefail
. tests/shell/lib.sh
. tests/sandbox.sh
. tests/ledger.sh
ledger_make
sandbox_begin busybox
ledger_begin

room=3	# for others than "box"
shelf=4 # for snapshots
others=()
snaps=()

# ---- what there is -----------------------------------------------------------

# drop WORD: from $list.
drop() {
	local i keep=()
	for i in "${list[@]}"; do
		[ "$i" = "$1" ] || keep+=("$i")
	done
	list=("${keep[@]}")
}

# did COMMAND...: it ends well and has nothing to complain of.
did() {
	try "$@"
	[ "$status" -eq 0 ] && [ ! -s "$err" ] && return
	blame failed "$*: $status: $(cat "$err")"
	return 1
}

# The new ones, which $out names, come from sandbox or snapshot $1.
arrive() {
	new=()
	mapfile -t new <"$out"
	local id
	for id in "${new[@]}"; do
		inherit "$id" "$1"
		others+=("$id")
	done
}

# One of the others is asked a last time, and goes.
leave() {
	local list=("${others[@]}")
	agree "$1"
	did iso-rm -q "$1"
	drop "$1"
	others=("${list[@]}")
	forget "$1"
}

make_room() {
	while [ $((${#others[@]} + $1)) -gt "$room" ]; do
		draw ${#others[@]}
		leave "${others[drawn]}"
	done
}

pick_snapshot() {
	[ ${#snaps[@]} -gt 0 ] || { do_snapshot && agree "$box"; }
	draw ${#snaps[@]}
	snap=${snaps[drawn]}
}

# Delete $snap; those whose memory comes from it go before.  1: it stays, for
# "box" is one of them.
delete() {
	local id users='' list=("${snaps[@]}")
	try iso-snap --delete "$snap"
	if [ "$status" -ne 0 ] && grep -q "is in use by run" "$err"; then
		! grep -q "is in use by .*$box" "$err" || return 1
		for id in "${others[@]}"; do
			! grep -q "is in use by .*$id" "$err" || users+=" $id"
		done
		for id in $users; do
			leave "$id"
		done
		did iso-snap --delete "$snap" || return
	elif [ "$status" -ne 0 ]; then
		blame failed "--delete: $(cat "$err")"
		return 1
	fi
	drop "$snap"
	snaps=("${list[@]}")
}

# What is listed is what there is.
listed() {
	local is want
	is=$(iso-ps -o id,state | sort)
	want=$(printf '%s\trunning\n' "$box" "${others[@]}" | sort)
	[ "$is" = "$want" ] || blame listed "$is, not $want"
	is=$(iso-snap --list -q | sort)
	# shellcheck disable=SC2086
	want=$(printf '%s\n' $golden "${snaps[@]}" | sort)
	[ "$is" = "$want" ] || blame listed "$is, not $want"
}

# ---- the steps ---------------------------------------------------------------

do_fork() {
	local id
	draw 3
	make_room $((drawn + 1))
	did iso-fork -q -n $((drawn + 1)) box || return
	arrive "$box"
	agree "$box"
	for id in "${new[@]}"; do
		apart "$id"
	done
	agree "${new[0]}"
}

# A copy of a copy, which then may be gone before it.
do_again() {
	local parent
	[ ${#others[@]} -gt 0 ] || do_fork
	make_room 1
	draw ${#others[@]}
	parent=${others[drawn]}
	did iso-fork -q "$parent" || return
	arrive "$parent"
	agree "${new[0]}"
	draw 2
	[ "$drawn" -eq 0 ] || leave "$parent"
}

# Of "box", and now and then of another.
do_snapshot() {
	local of=$box
	[ ${#snaps[@]} -lt "$shelf" ] || do_delete
	draw 4
	[ "$drawn" -gt 0 ] || of=${others[0]:-$box}
	did iso-snap -q -n "s$step" "$of" || return
	snap=$(cat "$out")
	snaps+=("$snap")
	inherit "$snap" "$of"
}

do_boot() {
	pick_snapshot
	make_room 1
	did iso-boot -q --from "$snap" || return
	arrive "$snap"
	apart "${new[0]}"
	agree "${new[0]}"
}

do_sleep() {
	local state
	did iso-snap -q --hibernate box || return
	state=$(iso-ps -o state box)
	[ "$state" = sleeping ] || blame failed "it is $state"
	did iso-snap -q --resume box
}

do_rollback() {
	pick_snapshot
	apart "$snap"
	did iso-snap -q --rollback "$snap" box || return
	inherit "$box" "$snap"
	never_n[$box]=${never_n[$snap]}
	never_sum[$box]=${never_sum[$snap]}
}

do_delete() {
	pick_snapshot
	delete && forget "$snap"
}

# To another root, and back.
here() { "$@"; }
there() { ISO_ROOT=$tmp/there "$@"; }
bring() { "$1" iso-snap --export "$snap" | "$2" iso-snap --import; }
mkdir -p "$tmp/there/snapshots"
ln -s "$ISO_ROOT/rootfs" "$tmp/there"

do_move() {
	pick_snapshot
	# Who is there has made it too.
	cp "$ISO_ROOT/snapshots/.key" "$tmp/there/snapshots"
	did bring here there
	if delete; then
		did bring there here && snaps+=("$snap")
		[ "$(cat "$out")" = "$snap" ] || blame failed "it is $(cat "$out")"
	fi
	did there iso-snap --delete "$snap"
}

# ---- all of them -------------------------------------------------------------

# Dealt from a deck, again and again, so that each has its turn.
deck=()
deal() {
	[ ${#deck[@]} -gt 0 ] ||
		deck=(fork fork again snapshot snapshot boot sleep sleep
			rollback rollback delete move)
	draw ${#deck[@]}
	card=${deck[drawn]}
	deck[drawn]=${deck[-1]}
	unset 'deck[-1]'
}

n=$(count 12 200 200)
for step in $(seq "$n"); do
	deal
	case $card in
	fork) do_fork ;;
	again) do_again ;;
	snapshot) do_snapshot ;;
	boot) do_boot ;;
	sleep) do_sleep ;;
	rollback) do_rollback ;;
	delete) do_delete ;;
	move) do_move ;;
	esac
	agree "$box"
	draw 2
	[ "$drawn" -eq 0 ] || [ ${#others[@]} -eq 0 ] || {
		draw ${#others[@]}
		leave "${others[drawn]}"
	}
	listed
	echo "# $step $card: ${said_n[$box]} records, ${#others[@]} others, ${#snaps[@]} snapshots"
done
step=end
for id in "${others[@]}"; do
	leave "$id"
done
did iso-snap --verify "${snaps[@]}"
for snap in "${snaps[@]}"; do
	did iso-boot -q --from "$snap" || continue
	arrive "$snap"
	apart "${new[0]}"
	leave "${new[0]}"
done
agree "$box"
right failed "$n steps, each as it was to be"
right silent 'after each the program in it answers'
right disk "disk and memory agree, each of $asked times"
right memory 'no page of memory is of another moment'
right lost 'what was committed is there'
right mixed 'and nothing that was committed elsewhere'
right listed 'what is listed is what there is'
did iso-rm -q --all
# shellcheck disable=SC2086
did iso-snap --delete "${snaps[@]}" $golden
is "$(left)" '' 'nothing is left in the end'
done_testing
