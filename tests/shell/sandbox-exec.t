#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-exec: bytes, arguments, statuses, signals, times and users pass through as
# if the command were here.  See tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox
box_begin -e WHO=image -e KEPT=kept

# ---- bytes and statuses ------------------------------------------------------

try box 'read -r x; echo "out $x"; echo err >&2; exit 77' <<<'in'
is "$status:$(cat "$out"):$(cat "$err")" '77:out in:err' \
	'stdin, stdout, stderr and exit status'
# Every byte there is, in every order of two.
python3 -c 'import sys
sys.stdout.buffer.write(bytes(b for i in range(256) for j in range(256)
    for b in (i, j)))' >"$tmp/bytes"
# shellcheck disable=SC2094
iso-exec box cat <"$tmp/bytes" | cmp - "$tmp/bytes" 2>"$err"
ok $? 'any bytes, by stdin and stdout'
# shellcheck disable=SC2094
box 'cat >&2' <"$tmp/bytes" 2>&1 >/dev/null | cmp - "$tmp/bytes" 2>"$err"
ok $? 'and by stderr'
is "$(iso-exec box cat </dev/null | wc -c)" 0 'no stdin is no bytes'
is "$(box 'sleep 0.1; echo out; echo err >&2' <&- 2>&1 | sort | xargs)" \
	'err out' 'with stdin closed'
box 'kill -USR1 $$'
is $? 138 'a signal is 128 and its number'
refuses 127 'no-such' 'not found is 127' iso-exec box no-such
refuses 126 '/etc' 'not executable is 126' iso-exec box /etc
is "$(iso-exec box yes | head -n 2 | tr -d '\n'; echo "${PIPESTATUS[0]}")" \
	yy141 'a reader that goes away is SIGPIPE there'
try box 'exec 0<&-; echo deaf; exit 5' <"$tmp/bytes"
is "$status:$(cat "$out")" 5:deaf 'a command that reads nothing'
is "$(box '(sleep 60; echo late) & echo now')" now \
	'the end of the command is the end'
coproc T { iso-exec box -- sh -c 'echo first; read -r x; echo "$x"'; }
coproc=$T_PID
read -r line <&"${T[0]}"
echo second >&"${T[1]}"
read -r line2 <&"${T[0]}"
is "$line $line2" 'first second' 'output comes as it is written'
wait "$coproc"

# ---- who, where and with what ------------------------------------------------

is "$(iso-exec "$box" -- sh -c 'echo "$#:$1:$2"' sh 'a  b' '')" '2:a  b:' \
	'arguments arrive as they are'
try iso-exec -e A='x
y' -e WHO=me -w /tmp -u 12:34 box -- sh -c \
	'echo "$A|$WHO|$KEPT|$(pwd)|$(id -u):$(id -g):$(id -G)"'
is "$(cat "$out")" 'x
y|me|kept|/tmp|12:34:34' '-e, -w and -u'
is "$(box 'echo "$WHO"')" image 'the environment of iso-boot'
is "$(SECRET=mine iso-exec box env | grep -c mine)" 0 'and none of this machine'
refuses 125 '/none' 'a directory that is not there' \
	iso-exec -w /none box true
refuses 2 'absolute' 'or not from the root' iso-exec -w tmp box true
refuses 127 "no user 'nobody-here'" 'a user that it does not have' \
	iso-exec -u nobody-here box true
refuses 2 'sets no variable' 'a variable that is none' \
	iso-exec -e NAME box true
iso-exec -u 12 box -- sh -c 'kill -9 1; echo x >/etc/x' 2>/dev/null
is "$?:$(box 'ls /etc/x' 2>/dev/null)" 1: 'a user has a user'"'"'s rights'

# ---- which sandbox -----------------------------------------------------------

refuses 125 "no sandbox 'nobody'" 'no such sandbox is 125' \
	iso-exec nobody true
is "$(iso-exec "${box:0:14}" hostname)" box 'a prefix of an id will do'
twin=${box:0:18}$([ "${box:18}" = a ] && echo b || echo a)
mkdir "$ISO_ROOT/run/$twin"
refuses 125 'begins the ids of 2 sandboxes' 'but not one of two' \
	iso-exec "${box:0:18}" true
rmdir "$ISO_ROOT/run/$twin"

# ---- ends --------------------------------------------------------------------

try iso-exec --timeout 5 box -- sh -c \
	'echo begun; (setsid sleep 4711 &); sleep 4711 & sleep 4711'
is "$status:$(cat "$out")" 124:begun '--timeout is 124'
is "$(sleeps 4711)" 0 'and the whole tree is dead'
is "$(iso-exec --timeout 600 box -- sh -c 'echo quick; exit 6'; echo $?)" \
	'quick
6' 'one that is not reached changes nothing'

# Whoever has the FIFO in the guest open for writing keeps its reader waiting:
# its end is that of the last of them.
mkfifo "$tmp/fifo"
box 'mkfifo /tmp/held'
iso-exec --timeout 300 box cat /tmp/held &
held=$!
box 'exec 4>/tmp/held; echo up; (setsid sleep 4712 &); sleep 4712' \
	>"$tmp/fifo" &
run=$!
exec 3<"$tmp/fifo"
read -r line <&3
# The program itself, and not the shell that runs the function.
client=$(pgrep -P $run -x iso-exec || echo $run)
kill -KILL "$client"
wait $run 2>/dev/null
wait $held
is $? 0 'a client that is killed takes the whole tree along'
exec 3<&-
is "$(sleeps 4712)" 0 'of which nothing is left'

said=
for sig in TERM HUP USR1; do
	iso-exec box -- sh -c "trap 'echo got $sig; exit 3' $sig; echo up
		while :; do sleep 99 & wait; done" >"$tmp/fifo" &
	run=$!
	exec 3<"$tmp/fifo"
	read -r line <&3
	kill -$sig $run
	read -r line <&3
	wait $run
	said+="$?:$line "
	exec 3<&-
done
is "$said" '3:got TERM 3:got HUP 3:got USR1 ' \
	'signals reach the command, whose answer counts'

# ---- guests that hang --------------------------------------------------------

# Another one's directory, with a server of ours: it says nothing; OK; OK and
# half a greeting.
cat >"$tmp/silent.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(20)
print("ready", flush=True)
kept = []
for answer in (b"", b"OK 1\n", b"OK 1\n\x08\0\x01"):
    c, _ = s.accept()
    c.sendall(answer)
    kept.append(c)
s.accept()
PY
silent=run0000000000000bad
mkdir "$ISO_ROOT/run/$silent"
python3 "$tmp/silent.py" "$ISO_ROOT/run/$silent/vsock.sock" >"$tmp/fifo" &
server=$!
read -r line <"$tmp/fifo"
for how in 'that says nothing' 'behind a monitor that does' 'amid its greeting'
do
	refuses 124 'does not answer' "a guest that hangs: $how" \
		timeout 60 iso-exec --timeout 1 $silent true
done
kill $server
wait $server 2>/dev/null
rm -r "${ISO_ROOT:?}/run/$silent"
done_testing
