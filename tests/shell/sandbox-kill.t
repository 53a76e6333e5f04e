#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs and monitors that are killed while a sandbox is copied, saved, put to
# sleep, woken, taken back: it is as it was before or as it was to be, and so is
# what there is of others and of snapshots.  Run by prove from the top of the
# repository, as root; see tests/sandbox.sh, and tests/ledger.sh for SEED.
#
# A program is killed as it enters a system call that is drawn, which reaches
# what is over in an instant as well as what takes long.  A monitor is killed at
# a moment that is drawn.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
. tests/ledger.sh
ledger_make
sandbox_begin busybox
command -v strace >/dev/null || {
	echo 'Bail out! the package strace'
	exit 1
}
ledger_begin

# The one wait by time in here, since "at any moment" is the test.
mkfifo "$tmp/never"
exec 9<>"$tmp/never"
moment() { read -r -t "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))" -u 9; }

shelf=3 # for snapshots beside the first
snaps=()

well() {
	try "$@"
	[ "$status" -eq 0 ] && [ ! -s "$err" ] && return
	blame failed "$*: $status: $(cat "$err")"
	return 1
}

# ---- one of them -------------------------------------------------------------

declare -A took # ms, of each verb, when nobody is killed

# $cmd: the program of $verb.
set_command() {
	case $verb in
	snap) cmd=(iso-snap -q -n "k$step" box) ;;
	fork) cmd=(iso-fork -q -n 2 box) ;;
	hibernate) cmd=(iso-snap -q --hibernate box) ;;
	resume) cmd=(iso-snap -q --resume box) ;;
	rollback) cmd=(iso-snap -q --rollback base box) ;;
	from) cmd=(iso-boot -q --from base) ;;
	esac
}

# Nobody is: $took, and the names of the calls in a file.
count_calls() {
	local t=${EPOCHREALTIME/./}
	try strace -o "$tmp/strace" "${cmd[@]}"
	took[$verb]=$(((${EPOCHREALTIME/./} - t) / 1000))
	sed -n 's/^\([a-z0-9_]*\)(.*/\1/p' "$tmp/strace" >"$tmp/calls.$verb"
	echo "# $verb: $(wc -l <"$tmp/calls.$verb") calls, ${took[$verb]} ms"
}

# First the call's name is drawn, or it would be a read nearly every time; then
# which of those it is.
kill_program() {
	local names name nth
	mapfile -t names < <(sort -u "$tmp/calls.$verb")
	draw ${#names[@]}
	name=${names[drawn]}
	draw "$(grep -cx "$name" "$tmp/calls.$verb")"
	nth=$((drawn + 1))
	at="$name $nth"
	# It ends as its program does, and the shell would say so.
	{
		try strace -o "$tmp/strace" \
			-e "inject=$name:signal=KILL:when=$nth" "${cmd[@]}"
	} 2>/dev/null
	[ "$status" -ne 137 ] || hit=1
}

# Of the sandbox, or one that is being made.
kill_monitor() {
	local parent pid
	parent=$(monitor box)
	draw "${took[$verb]}"
	at="$drawn ms"
	"${cmd[@]}" >"$out" 2>"$err" &
	pid=$!
	case $victim:$verb in
	made:snap | made:fork) ;;
	made:*) parent=$pid ;;
	esac
	moment "$drawn"
	# With strace it took longer: another time, sooner.
	[ -n "$(jobs -r)" ] || took[$verb]=$((drawn + 1))
	if [ "$victim" = made ]; then
		pgrep -P "$parent" -x iso-vmm >"$tmp/made"
		parent=$(head -n 1 "$tmp/made")
	fi
	[ -z "$parent" ] || ! kill -KILL "$parent" 2>/dev/null || hit=1
	wait $pid
	status=$?
}

# ---- what there is afterwards ------------------------------------------------

# What the sandbox may be, as iso-ps says.
allowed() {
	case $verb:$ended in
	hibernate:0 | resume:1) may=sleeping ;;
	hibernate:137 | resume:137) may='running sleeping' ;;
	*) may=running ;;
	esac
	# Its own one; or the new one, when that was its own already.
	case $hit:$victim:$verb:$ended in
	1:monitor:hibernate:0) ;;
	1:monitor:* | 1:made:resume:0 | 1:made:rollback:0) may+=' dead' ;;
	esac
}

# It may be what "base" is, if it was to be.
taken_back() {
	local own
	ask "$box" "${said_n[$box]}" || return
	read -r _ _ _ _ _ _ _ own <<<"$answer"
	if [ "$own" != "${said_sum[$box]}" ] && [ "$ended" -ne 1 ]; then
		inherit "$box" base
		never_n[$box]=${said_n[before]}
		never_sum[$box]=${said_sum[before]}
	elif [ "$own" = "${said_sum[$box]}" ] && [ "$ended" -eq 0 ]; then
		blame box 'it has not been taken back'
	fi
}

look_at_box() {
	local state
	state=$(iso-ps -o state box)
	# Who writes it may do so to the end, after who wanted it.
	[ "$state" != running ] || ask "$box" || state=$(iso-ps -o state box)
	allowed
	[[ " $may " == *" $state "* ]] ||
		blame box "it is $state and not $may: $(cat "$err")"
	echo "# $step $verb, $victim killed at $at ($hit): $ended, $state"
	case $state in
	running)
		[ "$verb" != rollback ] || taken_back
		agree "$box"
		;;
	sleeping) well iso-snap -q --resume box && agree "$box" ;;
	*) again ;;
	esac
}

# Another one in its place.
again() {
	[ "$(iso-ps -o reason box)" = killed ] || {
		blame box "it ended: $(iso-ps -o reason,detail box)"
		sandbox_dead
	}
	well iso-rm -q box
	well iso-boot -q -n box --from base
	forget "$box"
	box=$(cat "$out")
	inherit "$box" base
	agree "$box"
}

# few WHAT VERB ALL: of those that $verb made $got, and it may be that many.
few() {
	local all=0
	[ "$verb" != "$2" ] || all=$3
	case $ended in
	0) [ "$got" -eq "$all" ] ;;
	137) [ "$got" -le "$all" ] ;;
	*) [ "$got" -eq 0 ] ;;
	esac || blame listed "$got $1 of $all, status $ended"
}

look_at_others() {
	local id got state others
	mapfile -t others < <(iso-ps -q | grep -vx "$box")
	got=${#others[@]}
	case $verb in
	from) few sandboxes from 1 ;;
	*) few sandboxes fork 2 ;;
	esac
	[ "$verb:$got" != fork:1 ] || echo "# one copy of two"
	for id in "${others[@]}"; do
		state=$(iso-ps -o state "$id")
		case $hit:$victim:$state in
		*:running)
			inherit "$id" "$([ "$verb" = from ] && echo base ||
				echo before)"
			apart "$id"
			agree "$id"
			;;
		1:made:dead) ;;
		*) blame listed "$id is $state" ;;
		esac
		well iso-rm -q "$id"
		forget "$id"
	done
}

restores() {
	local id
	well iso-boot -q --from "$1" || return
	id=$(cat "$out")
	inherit "$id" "$1"
	apart "$id"
	agree "$id"
	well iso-rm -q "$id"
	forget "$id"
}

look_at_snapshots() {
	local id got
	# shellcheck disable=SC2086
	iso-snap --list -q | grep -vxF "$(printf '%s\n' $golden "$base" \
		"${snaps[@]}")" >"$tmp/new"
	got=$(wc -l <"$tmp/new")
	few snapshots snap 1
	[ "$got" -gt 0 ] || return
	id=$(head -n 1 "$tmp/new")
	[ "$(iso-snap --show "k$step" | jq -r .id)" = "$id" ] ||
		blame listed "$id has not its name"
	well iso-snap --verify "$id"
	inherit "$id" before
	snaps+=("$id")
	draw 3
	[ "$drawn" -gt 0 ] || restores "$id"
	[ ${#snaps[@]} -gt "$shelf" ] || return
	well iso-snap --delete "${snaps[0]}"
	forget "${snaps[0]}"
	snaps=("${snaps[@]:1}")
}

halves() {
	find "$ISO_ROOT/run" "$ISO_ROOT/snapshots" -maxdepth 1 \
		-name '.boot.*' -o -name '.gone.*' -o -name '.make.*'
}

# round VERB VICTIM: $hit.
round() {
	verb=$1 victim=$2 hit=0 at=-
	[ "$verb" != resume ] || well iso-snap -q --hibernate box
	inherit before "$box"
	set_command
	case $victim in
	nobody) count_calls ;;
	program) kill_program ;;
	*) kill_monitor ;;
	esac
	ended=$status # of that one; looking at what is left has its own
	case $hit:$ended in
	0:0 | 1:0 | 1:137) ;;
	1:1) [ "$(grep -vc ': try: ' "$err")" -eq 1 ] ;;
	*) false ;;
	esac || blame said "$verb, $victim at $at: $ended: $(cat "$err")"
	look_at_box
	look_at_others
	look_at_snapshots
	[ -z "$(halves)" ] || blame listed "$(halves)"
}

# ---- all of them -------------------------------------------------------------

well iso-snap -q -n base box && base=$(cat "$out")
inherit base "$box"
inherit "$base" "$box"
agree "$box"

# Of as many verbs, every victim in turn, in any order.
verbs=(snap fork hibernate resume rollback from)
few_verbs=$(count 3 6 6)
while [ ${#verbs[@]} -gt "$few_verbs" ]; do
	draw ${#verbs[@]}
	unset "verbs[drawn]"
	verbs=("${verbs[@]}")
done
cases=()
for verb in "${verbs[@]}"; do
	cases+=("$verb program")
	[[ $verb == resume || $verb == from ]] || cases+=("$verb monitor")
	[ "$verb" = hibernate ] || cases+=("$verb made")
done
deck=()
n=$(count 6 100 100)
killed=0
for step in $(seq $((3 * n))); do
	[ "$killed" -lt "$n" ] || break
	[ ${#deck[@]} -gt 0 ] || deck=("${cases[@]}")
	draw ${#deck[@]}
	card=${deck[drawn]}
	deck[drawn]=${deck[-1]}
	unset 'deck[-1]'
	[ -n "${took[${card% *}]:-}" ] || {
		step+=c
		round "${card% *}" nobody
		step=${step%c}
	}
	round "${card% *}" "${card#* }"
	killed=$((killed + hit))
done
step=end
for id in "$base" "${snaps[@]}"; do
	restores "$id"
done
is "$killed" "$n" "$n times somebody was killed"
right said 'what was not killed said in one line what was wrong'
right box 'the sandbox is as before or as after'
right silent 'and answers'
right disk "its disk and its memory agree, each of $asked times"
right memory 'no page of memory is of another moment'
right lost 'what was committed is there'
right mixed 'and nothing that was committed elsewhere'
right listed 'copies and snapshots are whole, and no others are listed'
right failed 'every one can be gone on with, verified and removed'
well iso-rm -q --all
# shellcheck disable=SC2086
well iso-snap --delete "${snaps[@]}" "$base" $golden
is "$(left)" '' 'nothing is left in the end'
done_testing
