# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the shell tests share: TAP on standard output, a directory of their own.
# Sourced from the top of the repository:  . tests/shell/lib.sh
#
#	$tmp		a directory of the test's own, removed at its end
#	$out, $err	what the last `try` wrote

bin=$(realpath "${ISO_BIN:-build/bin}")
mkdir -p "${TMPDIR:-build/tmp}"
tmp=$(realpath "$(mktemp -d "${TMPDIR:-build/tmp}/test.XXXXXX")")
out=$tmp/out
err=$tmp/err
tests=0
failed=0
cleanup() { :; } # a test that needs one defines its own
trap 'cleanup; rm -rf "$tmp"' EXIT
export PATH="$bin:$PATH"

# ok STATUS NAME: one test; a failed one shows what was said last.
ok() {
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests - $2"
		return 0
	fi
	echo "not ok $tests - $2"
	failed=$((failed + 1))
	[ ! -s "$err" ] || sed 's/^/# stderr: /' "$err" | head -8
	return 1
}

# is GOT WANTED NAME
is() {
	[ "$1" = "$2" ]
	ok $? "$3" || echo "# got '$1', expected '$2'"
}

# like TEXT PATTERN NAME: PATTERN is a shell pattern for a part of TEXT.
like() {
	case $1 in
	*$2*) ok 0 "$3" ;;
	*) ok 1 "$3" || echo "# got '$1', expected *$2*" ;;
	esac
}

# try COMMAND...: run it; $status, $out and $err have what came of it.
try() {
	"$@" >"$out" 2>"$err"
	status=$?
}

# refuses STATUS TEXT NAME COMMAND...: it ends with STATUS, says TEXT in one
# line (and perhaps a remedy in a second), and nothing on standard output.
refuses() {
	local want=$1 text=$2 name=$3 lines
	shift 3
	try "$@"
	lines=$(grep -vc ': try: ' "$err")
	[ "$status" -eq "$want" ] && [ "$lines" -eq 1 ] && [ ! -s "$out" ] &&
		grep -qF -- "$text" "$err"
	ok $? "$name" ||
		echo "# status $status, expected $want and '$text'"
}

done_testing() {
	echo "1..$tests"
	[ "$failed" -eq 0 ]
	exit
}
