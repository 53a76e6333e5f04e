#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The monitor's devices, each driven through its rules and past them by a tiny
# guest of our own (tests/guests): where a KVM opens here, whatever kind it is,
# and on the emulated host; as it is built for use, in its jail, and with the
# sanitizers.
set -u
. tests/shell/lib.sh
export TMPDIR=$tmp

CASES="regs rings:vsock rings:balloon rng balloon scratch root pmem vsock net
	map smp ends pause control"
# The rings of all devices are one piece of code, which an emulated processor
# with sanitizers does not have to be shown six times: two have several queues.
RINGS="rings:blk rings:pmem rings:rng rings:net"

# run_cases NAME COMMAND...: each line of what it says is a test.
run_cases() {
	local name="$1" line
	shift
	try "$@"
	while read -r line; do
		case $line in
		'ok - '*) ok 0 "$name, ${line#ok - }" ;;
		'not ok - '*) ok 1 "$name, ${line#not ok - }" ;;
		'skip - '*) skipped "$name, ${line#skip - }" ;;
		*) echo "$line" ;;
		esac
	done <"$out"
	ok "$status" "$name: all of it"
}

# A test that cannot be made here has shown nothing; see tests/tap.h.
skipped() {
	if [ -n "${TAP_SKIP_OK:-}" ]; then
		tests=$((tests + 1))
		echo "ok $tests - $1 # SKIP"
	else
		ok 1 "$1"
	fi
}

# In its jail; and with the sanitizers, which look for leaks at the end as none
# can in a jail.
in_use() {
	# shellcheck disable=SC2086
	run_cases "$1, in use" "${@:2}" tests/vmm/guest.py \
		"${bin%/bin}/libexec/iso-vmm" "${bin%/bin}/vmguests" \
		$CASES $RINGS
}
sanitized() { # NAME CASES COMMAND...
	local cases=$2
	# shellcheck disable=SC2086
	run_cases "$1, sanitized" "${@:3}" tests/vmm/guest.py \
		"${bin%/bin}/san/libexec/iso-vmm" "${bin%/bin}/vmguests" \
		--no-jail $cases
}

if (: <>/dev/kvm) 2>/dev/null; then
	in_use here
	sanitized here "$CASES $RINGS"
	in_use host iso-host run -- env TMPDIR=/tmp
else
	in_use host iso-host run -- env TMPDIR=/tmp
	sanitized host "$CASES" iso-host run -- env TMPDIR=/tmp
fi
done_testing
