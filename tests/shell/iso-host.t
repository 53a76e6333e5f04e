#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The emulated host, whole: that commands in it behave as if they were here,
# and that no crash of any part leaves something the next `up` trips over.
# Runs as root; forces emulation, so that it tests the same thing on a machine
# whose KVM works.
set -u
. tests/shell/lib.sh

name=t$$
cleanup() { iso-host down -q -n "$name" 2>/dev/null; }
there() { iso-host run -n "$name" -- "$@"; }
up() { iso-host up -q -e -n "$name" -m 1G "$@"; }
# The same for a background job whose process is to be signalled: a function
# in the background is a shell around the program.
THERE="iso-host run -n $name --"
UP="iso-host up -q -e -n $name -m 1G"
# The supervisor of the emulated host, and its children.
supervisor() { iso-host status -j -n "$name" | jq .pid; }
children() { pgrep -d ' ' -P "$1"; }
child() { pgrep -P "$1" "$2" | head -n 1; }
# gone PID...: none of them is a living process.
gone() {
	local p
	for p; do
		case $(cut -d ' ' -f 3 "/proc/$p/stat" 2>/dev/null) in
		'' | Z) ;;
		*) return 1 ;;
		esac
	done
}
# await_end PID...: until they have ended, by their pidfds.
await_end() {
	python3 - "$@" <<-'PY'
	import os, select, sys
	for pid in map(int, sys.argv[1:]):
	    try:
	        fd = os.pidfd_open(pid)
	    except ProcessLookupError:
	        continue
	    if not select.select([fd], [], [], 30)[0]:
	        sys.exit(f"process {pid} is still there")
	PY
}

# What is in the cgroups of commands, but for the one that looks: nothing.
left_in_cgroups() {
	there sh -c 'read -r me </proc/self/cgroup; me=${me##*/}
		for c in /sys/fs/cgroup/command.*; do
			[ "${c##*/}" = "$me" ] || {
				echo "$c $(tr "\n" " " <$c/cgroup.events)"
				for p in $(cat $c/cgroup.procs); do
					tr "\0" " " </proc/$p/cmdline
				done
			}
		done'
}

# A command on a machine without KVM, whatever this one has.
without_kvm() {
	unshare -m sh -c '[ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm
		exec "$@"' sh "$@"
}

# ---- not up ----

refuses 125 'is not up' 'run without an emulated host names it' \
	without_kvm iso-host run -n "$name" true
try iso-host status -n "$name"
is "$status" 1 'status of one that is down is no'
is "$(cat "$out")" "$name	down" 'and says so'
try iso-host down -n "$name"
is "$status" 0 'down of one that is down is done'
refuses 2 "'../x' is not a name" 'a name cannot leave the directory' \
	iso-host up -n ../x
refuses 2 'wants' 'run wants a command' iso-host run
refuses 1 'not a directory' 'a share must be a directory' \
	iso-host up -q -e -n "$name" -s /etc/passwd
refuses 1 "cannot share '/'" 'the whole root is not for writing' \
	iso-host up -q -e -n "$name" -s /
refuses 2 '--memory' 'memory has a range' iso-host up -m 1K
refuses 1 'only root' 'up without root says what is missing' \
	setpriv --reuid 65534 --regid 65534 --clear-groups \
	iso-host up -e -n "$name"

# ---- no room ----

mkdir "$tmp/small"
mount -t tmpfs -o size=256k tmpfs "$tmp/small"
mkdir -p "$tmp/small/kernel"
mount --bind "$ISO_ROOT/kernel" "$tmp/small/kernel"
refuses 1 'state disk' 'a full disk is one clear line' \
	env ISO_ROOT="$tmp/small" iso-host up -q -e -n "$name"
is "$(find "$tmp/small/host" -name '.tmp*' -o -name state.img)" '' \
	'and leaves no half a disk'
umount "$tmp/small/kernel" "$tmp/small"

# ---- up ----

up 2>"$tmp/err1" &
first=$!
up 2>"$tmp/err2"
ok $? 'one of two ups at the same time'
wait "$first"
ok $? 'and the other'
pid=$(supervisor)
is "$(children "$pid" | wc -w)" 3 'made one machine: QEMU and two file servers'
is "$(pgrep -f "iso-host up -q -e -n $name" | wc -l)" 1 'with one supervisor'
up
ok $? 'up again is done'
is "$(supervisor)" "$pid" 'and changes nothing'
is "$(iso-host status -j -n "$name" | jq -c '[.up, .memory, .shares]')" \
	"[true,1073741824,[\"$PWD\"]]" 'status tells of it'

# ---- as if it were here ----

is "$(there pwd)" "$PWD" 'the same directory'
is "$(cd tests && there pwd)" "$PWD/tests" 'below it too'
is "$(X='a b
c' there sh -c 'echo "$X"')" 'a b
c' 'the same environment'
is "$(umask 027; there sh -c umask)" 0027 'the same umask'
is "$(there hostname)" "$(hostname)" 'the same host name'
is "$(there sh -c 'echo "$#:$1:$2"' sh 'a  b' '')" '2:a  b:' \
	'arguments arrive as they are'
there sh -c 'exit 77'
is $? 77 'the exit status'
there sh -c 'kill -USR1 $$'
is $? 138 'a signal is 128 and its number'
there no-such-command 2>"$err"
is $? 127 'not found is 127'
there /etc/passwd 2>"$err"
is $? 126 'not executable is 126'
(cd /tmp && mkdir -p "iso.$$" && cd "iso.$$" && there true 2>"$err")
is $? 125 'a directory that is not there is 125'
like "$(cat "$err")" "cannot change to directory /tmp/iso.$$" 'and is named'
rmdir "/tmp/iso.$$"
there sh -c 'echo out; echo err >&2' >"$out" 2>"$err"
is "$(cat "$out" "$err")" 'out
err' 'stdout and stderr are two things'
is "$(echo text | there sh -c 'cat; echo end')" 'text
end' 'stdin arrives, and its end'
is "$(there cat </dev/null | wc -c)" 0 'no stdin is no bytes'
is "$(there yes | head -n 2 | tr -d '\n'; echo "${PIPESTATUS[0]}")" yy141 \
	'a reader that goes away is SIGPIPE there'
is "$(there sh -c 'exec <&-; sleep 0; echo done' </dev/zero)" 'done' \
	'stdin that nobody reads keeps nobody'
is "$(there sh -c '(sleep 600; echo late) & echo now')" now \
	'the end of the command is the end, whatever its children do'
is "$(there true; there sh -c 'pgrep -c -x sleep')" 1 \
	'and they live on, as they would here'
there pkill -x sleep
big=$(seq -s ' ' 30000)
# shellcheck disable=SC2086 # words
is "$(there sh -c 'echo "$#"' sh $big)" 30000 'many arguments'
is "$(BIG=$(printf '%0120000d' 0) there sh -c 'echo ${#BIG}')" 120000 \
	'a long variable'

# ---- a terminal ----

cat >"$tmp/talk.py" <<'PY'
# Talk to `iso-host run -t` as a person would: type, read until it shows.
import fcntl, os, pty, re, select, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.execvp("iso-host", ["iso-host", "run", "-n", sys.argv[1], "-t", "sh"])
seen = b""
def expect(pattern):
    global seen
    while not (m := re.search(pattern, seen)):
        if not select.select([fd], [], [], 30)[0]:
            sys.exit(f"waited for {pattern}, saw {seen}")
        try:
            more = os.read(fd, 4096)
        except OSError:
            sys.exit(f"waited for {pattern}, ended after {seen}")
        seen += more
    seen = seen[m.end():]
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
expect(rb"[#$] ")
os.write(fd, b"tty; echo si''ze $(stty size)\n")
expect(rb"/dev/pts/\d+")
expect(rb"size 33 99")
expect(rb"[#$] ")
os.write(fd, b"trap 'echo got''winch; stty size' WINCH; echo re''ady\n")
expect(rb"ready")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 21, 71, 0, 0))
os.write(fd, b"\n")
expect(rb"21 71")
os.write(fd, b"sleep 1000; echo st''atus $?\n")
expect(rb"1000")
os.write(fd, b"\x03")
expect(rb"[#$] ")
os.write(fd, b"exit 9\n")
status = os.waitpid(pid, 0)[1]
sys.exit(0 if os.WEXITSTATUS(status) == 9 else f"status {status}")
PY
try python3 "$tmp/talk.py" "$name"
is "$status" 0 'run -t: a shell on a terminal, its size, Ctrl-C, its status'

# ---- signals ----

mkfifo "$tmp/fifo"
$THERE sh -c 'trap "echo got; exit 3" TERM; echo up; while :; do sleep 600 & wait; done' \
	>"$tmp/fifo" 2>"$err" &
run=$!
exec 3<"$tmp/fifo"
read -r line <&3
kill -TERM $run
read -r line <&3
wait $run
is "$?:$line" 3:got 'SIGTERM reaches the command, whose answer counts'
exec 3<&-
there pkill -x sleep

$THERE sh -c 'echo up; (setsid sleep 6000 &) ; sleep 6001' >"$tmp/fifo" &
run=$!
exec 3<"$tmp/fifo"
read -r line <&3
kill -KILL $run
wait $run 2>/dev/null
exec 3<&-
# The kill is on its way before this command is: the stream is one.
is "$(there sh -c 'pgrep -c -x sleep')" 0 \
	'a killed run leaves no process behind, whatever its session'
is "$(left_in_cgroups)" '' 'and no cgroup'

# ---- files ----

echo outside >"$tmp/file"
is "$(there sh -c "cat $tmp/file; echo inside >$tmp/file")" outside \
	'a file of the build tree is seen inside'
is "$(cat "$tmp/file")" inside 'and what is written inside is seen here'
for i in 1 2 3 4 5 6 7 8 9 10; do
	echo "$i" >"$tmp/new" && mv "$tmp/new" "$tmp/file"
	[ "$(there cat "$tmp/file")" = "$i" ] || break
done
is "$i" 10 'a file replaced here is never seen stale inside'
there sh -c 'echo x >/etc/iso-host-test && cat /etc/iso-host-test' >"$out"
is "$(cat "$out")" x 'the rest can be written inside'
[ ! -e /etc/iso-host-test ]
ok $? 'and is not changed here'
there touch /run/iso/share/setup 2>/dev/null
there sh -c 'mkdir -p /x && mount -t virtiofs root /x && ! touch /x/etc/passwd' \
	2>"$err"
[ ! -e /x ]
ok $? 'not even by a mount of its own'
is "$(there stat -f -c %T "$ISO_ROOT")" xfs 'the state directory is XFS'
there sh -c "echo kept >$ISO_ROOT/kept &&
	cp --reflink=always $ISO_ROOT/kept $ISO_ROOT/clone"
ok $? 'with reflinks'
is "$(there ls "$ISO_ROOT/kernel")" "$(ls "$ISO_ROOT/kernel")" \
	'the kernels in it are those of this machine'

# ---- much of it ----

head -c 268435456 /dev/urandom >"$tmp/big"
want=$(sha256sum <"$tmp/big")
is "$(there cat <"$tmp/big" | sha256sum)" "$want" \
	'256 MiB through stdin and stdout, unharmed'
is "$(there sha256sum "$tmp/big" | cut -d ' ' -f 1)" "${want%% *}" \
	'and through the share'
rm "$tmp/big"
seq 1000 | xargs -P 20 -I{} sh -c \
	"[ \"\$(echo {} | iso-host run -n $name cat)\" = {} ] || echo {}" \
	>"$out" 2>"$err"
is "$(wc -l <"$out")" 0 '1,000 runs, 20 at once, each with its own answer'
is "$(left_in_cgroups)" '' 'left no cgroup behind'
fds=$(find "/proc/$pid/fd" | wc -l)
there true
is "$(find "/proc/$pid/fd" | wc -l)" "$fds" 'and the supervisor no descriptor'

# ---- down, and up again ----

procs=$(children "$pid")
try iso-host down -n "$name"
is "$status" 0 'down'
# shellcheck disable=SC2086 # words
gone "$pid" $procs
ok $? 'and all its processes have gone'
is "$(find "$ISO_ROOT/host/$name" -type s)" '' 'and its sockets'
up -s "$PWD/build" -s "$PWD/tests"
ok $? 'up again, with other shares'
is "$(there cat "$ISO_ROOT/kept")" kept 'what the state directory held is there'
there sh -c 'echo x >tests/x.tmp' && [ -e tests/x.tmp ]
ok $? 'a named share can be written'
rm -f tests/x.tmp
there sh -c 'echo x >x.tmp && cat x.tmp' >"$out" && [ ! -e x.tmp ]
ok $? 'what is not shared is not written to'

# ---- crashes ----

$THERE sh -c 'echo up; sleep 6000' >"$tmp/fifo" 2>"$err" &
run=$!
exec 3<"$tmp/fifo"
read -r line <&3
pid=$(supervisor)
procs=$(children "$pid")
kill -KILL "$(child "$pid" qemu)"
wait $run
is "$?" 125 'QEMU killed under a run: 125'
exec 3<&-
is "$(wc -l <"$err")" 2 'one line and a remedy'
like "$(cat "$err")" "the emulated host '$name' ended: QEMU was killed by signal 9" \
	'that names what ended, and how'
# shellcheck disable=SC2086 # words
await_end "$pid" $procs
ok $? 'and nothing of it lives on'
up
ok $? 'up after that'

pid=$(supervisor)
procs=$(children "$pid")
kill -KILL "$pid"
# shellcheck disable=SC2086 # words
await_end "$pid" $procs
ok $? 'a killed supervisor takes its children along'
refuses 125 'is not up' 'and a run says so' \
	without_kvm iso-host run -n "$name" true
try iso-host status -n "$name"
is "$status:$(cat "$out")" "1:$name	down" 'and so does status'
up
ok $? 'up after that'

pid=$(supervisor)
procs=$(children "$pid")
kill -KILL "$(child "$pid" virtiofsd)"
# shellcheck disable=SC2086 # words
await_end "$pid" $procs
ok $? 'a file server that dies ends the machine'
like "$(cat "$ISO_ROOT/host/$name/host.log")" 'virtiofsd was killed' \
	'and its log says so'

# An `up` that is killed while the machine starts: whatever it left, the next
# one ends with a machine that runs.
for n in 0.01 0.1 0.5 2; do
	# shellcheck disable=SC2086 # words
	timeout -s KILL "$n" $UP
	if ! up || [ "$(there echo "$n")" != "$n" ]; then
		break
	fi
	iso-host down -q -n "$name"
done
is "$n" 2 'an up killed half-way is no obstacle to the next'

truncate -s 1M "$ISO_ROOT/host/$name/state.img"
refuses 1 'XFS' 'a state disk that is broken is named' \
	iso-host up -q -e -n "$name" -m 1G
rm -rf "${ISO_ROOT:?}/host/$name"
done_testing
