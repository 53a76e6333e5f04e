#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What is written says what the programs do: the pages against the option
# tables, the protocol's page against its sources, the README against the
# Makefile.
set -u
. tests/shell/lib.sh

# The page as it is read, in lines that are never broken.
read_page() { mandoc -T utf8 -O width=900 "$1" | sed 's/.\x08//g'; }

# section HEADING: its part of the page on standard input.
section() {
	awk -v want="$1" '
	/^ ? ? ?[^ ]/ { heading = $0; sub(/^ +/, "", heading); next }
	heading == want'
}

long_options() { grep -oE -e '(^|[^-[:alnum:]])--[a-z][a-z-]*' | grep -oE -e '--.*' | sort -u; }

# same FILE FILE NAME: the first is what the program has.
same() {
	diff -u "$1" "$2" >"$err"
	ok $? "$3"
}

programs=$(cd man && echo *.1)
for p in $programs; do
	p=${p%.1}
	page=$tmp/$p
	read_page "man/$p.1" >"$page"
	try "$p" --list-options
	is "$status" 0 "$p --list-options"
	list=$tmp/list
	cp "$out" "$list"
	commands=$(cut -f 1 "$list" | sort -u)

	# ---- --help, wrong usage ----
	try "$p" --help
	[ "$status" -eq 0 ] && [ -s "$out" ] && [ ! -s "$err" ]
	ok $? "$p --help is for standard output"
	refuses 2 'unknown option --no-such-option' "$p --no-such-option" \
		"$p" --no-such-option
	refuses 2 'unknown option -%' "$p -%" "$p" -%
	for cmd in $commands; do
		try "$p" "$cmd" --help
		[ "$status" -eq 0 ] && [ ! -s "$err" ] &&
			grep -q "^usage: $p $cmd " "$out"
		ok $? "$p $cmd --help"
		refuses 2 'unknown option --no-such-option' \
			"$p $cmd --no-such-option" "$p" "$cmd" --no-such-option
	done

	: >"$err"

	# ---- options: all of the program's in the page, and no others ----
	while IFS=$'\t' read -r cmd option; do
		if [ "$cmd" = all ]; then
			cp "$page" "$tmp/part"
		else
			section "$p $cmd" <"$page" >"$tmp/part"
		fi
		grep -qE -e "^ +(-[a-zA-Z], )?$option( |\$)" "$tmp/part"
		ok $? "$p(1) explains $option of $cmd"
	done < <(sed -n 's/^\t/all\t/; /\t/p' "$list")
	{
		cut -f 2 "$list" | long_options
		echo --help
	} | sort -u >"$tmp/has"
	# Of its own, that is: a line may show another program's.
	sed -E "s/$p/self/g; /(skopeo|umoci|zstd|iso-[a-z]+) .*--/d" "$page" |
		long_options | grep -vx -e --help >"$tmp/named"
	comm -13 "$tmp/has" "$tmp/named" >"$err"
	[ ! -s "$err" ]
	ok $? "$p(1) names no option that is not there"

	# ---- letters: those of --help are those of the page ----
	for cmd in '' $commands; do
		# shellcheck disable=SC2086 # none or one
		"$p" $cmd --help
	done | sed -n 's/^ *\(-[a-zA-Z], --[a-z-]*\).*/\1/p' | sort -u >"$tmp/has"
	sed -n 's/^ *\(-[a-zA-Z], --[a-z-]*\).*/\1/p' "$page" | sort -u >"$tmp/named"
	grep -q -e '^-h, ' "$tmp/named" || echo '-h, --help' >>"$tmp/named"
	sort -u -o "$tmp/named" "$tmp/named"
	same "$tmp/has" "$tmp/named" "$p(1) has the letters that the program has"

	# ---- sections ----
	for s in NAME SYNOPSIS DESCRIPTION ENVIRONMENT FILES 'EXIT STATUS' \
		EXAMPLES 'SEE ALSO'; do
		section "$s" <"$page" >"$tmp/part"
		[ -s "$tmp/part" ]
		ok $? "$p(1) has $s"
	done
	section 'EXIT STATUS' <"$page" >"$tmp/part"
	# What a command makes of 0 and 1 is its own affair, not its runner's.
	case $p in
	iso-exec) codes='2 124 125 126 127' ;;
	iso-host) codes='0 1 2 125 126 127' ;;
	*) codes='0 1 2' ;;
	esac
	for code in $codes; do
		grep -qE "^ +$code " "$tmp/part"
		ok $? "$p(1) explains exit status $code"
	done
done
make -npq >"$tmp/make" 2>/dev/null
is "$(sed -n 's/^PROGRAMS = //p' "$tmp/make" | tr ' ' '\n' | sort | tr '\n' ' ')" \
	"${programs//.1/} " 'each program has a page'

for page in man/*; do
	# Whether a page of the system is there says nothing about ours.
	mandoc -T lint -W style "$page" 2>&1 | grep -v -e 'mandoc\.db' \
		-e 'referenced manual not found' >"$err"
	[ ! -s "$err" ]
	ok $? "$page is clean"
done

# ---- the protocol ----

page=man/iso-agent.7
python3 - lib/wire/frame.h lib/wire/frame.c >"$tmp/has" <<'PY'
import re, sys
text = "".join(open(f).read() for f in sys.argv[1:])
value = {m[1]: m[2] for m in
         re.finditer(r"#define (\w+) (\d+|0x\w+)U?\b", text)}
value.update(re.findall(r"(WIRE_\w+) = (\d+),", text))
number = lambda e: eval(re.sub(r"\w*[A-Z]\w*", lambda m: value[m[0]], e))
rules = re.findall(r"\[WIRE_(\w+)\] = \{([^}]*)\}", text)
if len(rules) < 15:
    sys.exit("cannot read the table of frames")
for name, fields in rules:
    side, stream, channel, low, high = (f.strip() for f in fields.split(","))
    low, high = number(low), number(high)
    print(name, value["WIRE_" + name],
          {"BOTH": "both", "WIRE_CLIENT": "C", "WIRE_AGENT": "A"}[side],
          "not 0" if number(stream) else "0",
          ", ".join(str(c) for c in range(number(channel) + 1)),
          low if low == high else f"{low} to {high}", sep="|")
PY
sed -n 's/^\.It \([A-Z]* Ta .* Ta .* Ta .* Ta .* Ta .*\)/\1/p' $page |
	sed 's/ Ta /|/g' >"$tmp/named"
same "$tmp/has" "$tmp/named" 'iso-agent(7) has the frames of lib/wire'

sed -n 's/^\tTAG_\([A-Z]*\) = \([0-9]*\),.*/\1 Ta \2/p' lib/wire/msg.c >"$tmp/has"
sed -n 's/^\.It \([A-Z]* Ta [0-9]*\) Ta \(string\|u[0-9]*\).*/\1/p' $page >"$tmp/named"
same "$tmp/has" "$tmp/named" 'and the fields of a request'

cat >"$tmp/limits.c" <<'C'
#include <stdio.h>
#include "agent/server.h"
int main(void)
{
	printf("payload of a frame %d bytes\n", WIRE_PAYLOAD_MAX);
	printf("window of a channel %d bytes\n", WIRE_WINDOW);
	printf("a request %u bytes\n", WIRE_REQUEST_MAX);
	printf("further groups %d\n", WIRE_GROUPS_MAX);
	printf("commands at once, over all connections %d\n", STREAMS_MAX);
	printf("connections at once %d\n", CONNS_MAX);
	printf("protocol, version %d\n", WIRE_VERSION);
	printf("u32 0x%x\n", WIRE_MAGIC);
}
C
gcc -D_GNU_SOURCE -Ilib -I. -o "$tmp/limits" "$tmp/limits.c" 2>"$err"
ok $? 'the limits compile'
read_page $page | tr -s ' ' >"$tmp/text"
while read -r line; do
	grep -qF -- "$line" "$tmp/text"
	ok $? "iso-agent(7): $line"
done < <("$tmp/limits")

try "$bin/../libexec/iso-agent"
is "$status" 2 'iso-agent without arguments is wrong usage'
long_options <"$err" >"$tmp/has"
long_options <"$tmp/text" >"$tmp/named"
same "$tmp/has" "$tmp/named" 'iso-agent(7) has its options'

# ---- the monitor ----

read_page man/iso-vmm.8 >"$tmp/text"
sed -n 's/^\t{ "\([a-z][a-z-]*\)", .*/--\1/p' bin/vmmopt.c | sort -u >"$tmp/has"
[ -s "$tmp/has" ]
ok $? 'the options of iso-vmm can be read'
section SYNOPSIS <"$tmp/text" | long_options >"$tmp/named"
same "$tmp/has" "$tmp/named" 'iso-vmm(8) has them in its synopsis'
section DESCRIPTION <"$tmp/text" | grep -E '^ +--' | long_options >"$tmp/named"
same "$tmp/has" "$tmp/named" 'and explains them, and no others'
try "$bin/../libexec/iso-vmm"
is "$status" 2 'iso-vmm without arguments is wrong usage'

# ---- README ----

[ -s README.md ]
ok $? 'README.md is there'
sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' "$tmp/make" | sort -u >"$tmp/has"
{
	echo demo
	echo check
	grep -ohE '(^|[^[:alnum:]])make [a-z][a-z-]*' README.md .ci/run |
		sed 's/.*make //'
} 2>"$err" | sort -u >"$tmp/named"
comm -13 "$tmp/has" "$tmp/named" >"$err"
[ ! -s "$err" ]
ok $? 'what README.md and .ci/run make can be made'
for want in 'make demo' 'make check'; do
	grep -qF "$want" README.md 2>"$err"
	ok $? "README.md has '$want'"
done
while read -r f; do
	[ -e "$f" ]
	ok $? "README.md leads to $f, which is there"
done < <(grep -oE '\]\([^):#]+\)' README.md 2>"$err" | sed 's/^](//; s/)$//')
done_testing
