#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-exec with terminals, and shells that stay.  See tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox
box_begin --cold

# ---- terminals ---------------------------------------------------------------

cat >"$tmp/talk.py" <<'PY'
# Terminals on which people type, and read until it shows.
import fcntl, os, pty, re, select, struct, sys, termios
class Term:
    def __init__(self, *argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "vt100"
            os.execvp("iso-exec", ["iso-exec", *argv])
        self.seen = b""
    def size(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, cols, 0, 0))
    def type(self, text):
        os.write(self.fd, text)
    def expect(self, pattern):
        while not (m := re.search(pattern, self.seen)):
            if not select.select([self.fd], [], [], 120)[0]:
                sys.exit(f"waited for {pattern}, saw {self.seen}")
            try:
                more = os.read(self.fd, 4096)
            except OSError:
                sys.exit(f"waited for {pattern}, ended after {self.seen}")
            self.seen += more
        self.seen = self.seen[m.end():]
    def status(self):
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

def tty(name):
    t = Term("-t", name, "--", "sh")
    t.size(33, 99)
    t.expect(rb"[#$] ")
    t.type(b"tty; echo si''ze $(stty size) $TERM\n")
    t.expect(rb"/dev/pts/\d+")
    t.expect(rb"size 33 99 vt100")
    t.type(b"sh -c 'trap \"stty size; exit\" WINCH; sleep 99 & echo re\"\"ady;"
           b" wait'\n")
    t.expect(rb"ready")
    t.size(21, 71)
    t.expect(rb"21 71")
    t.type(b"sh -c 'echo be\"\"gun; exec sleep 1000'\n")
    t.expect(rb"begun")           # the terminal is its own from here on
    t.type(b"\x03")
    t.type(b"echo st''atus $?\n")
    t.expect(rb"status 130")
    t.type(b"exit 9\n")
    pid, status = os.waitpid(t.pid, 0)
    sys.exit(0 if os.WEXITSTATUS(status) == 9 else f"status {status}")

def sessions(name):
    a = Term("--session", "s", name)
    a.expect(rb"[#$] ")
    a.type(b"cd /usr 2>/dev/null || cd /etc; V=va''lue; echo ma''rker\n")
    a.expect(rb"marker")
    b = Term("--session", "s", name)
    b.expect(rb"marker")          # what there was before it came
    b.type(b"echo from''b $V\n")
    b.expect(rb"fromb value")
    a.expect(rb"fromb value")     # both see all of it
    b.status()                    # hangs up
    a.type(b"echo still''here\n")
    a.expect(rb"stillhere")
    a.status()

{"tty": tty, "sessions": sessions}[sys.argv[1]](sys.argv[2])
PY
try python3 "$tmp/talk.py" tty box
is "$status" 0 '-t: a shell on a terminal, its size, Ctrl-C, its status'
is "$(iso-exec -t box -- sh -c 'test -t 0 -a -t 1 -a -t 2 && stty size' \
	</dev/null | tr -d '\r')" '24 80' '-t without a terminal here'
is "$(iso-exec box tty)" 'not a tty' 'without -t it has none'

# ---- sessions ----------------------------------------------------------------

try python3 "$tmp/talk.py" sessions box
is "$status" 0 'a session: two clients, what was before, a client that goes'
is "$(iso-exec --session s box -- sh -c 'echo "$1 $(pwd)"' sh x)" 'x /etc' \
	'its directory is that of the next command'
iso-exec --session s box -- eval 'cd /tmp; W=kept; f() { echo "f $1"; }'
is "$(iso-exec --session s box -- eval 'echo $W $V $(pwd)')" \
	'kept value /tmp' 'and its variables stay'
is "$(iso-exec --session s box f 'a  b')" 'f a  b' 'and its functions'
iso-exec --session s box -- sh -c 'exit 41'
is $? 41 'each command with its status'
try iso-exec --session s box -- sh -c 'echo out; echo err >&2'
is "$(cat "$out"):$(cat "$err")" out:err 'its two outputs'
is "$(echo data | iso-exec --session s box cat)" data 'and its input'
is "$(iso-exec --session other box pwd)" / 'another session is another shell'
refuses 2 'is not a name' 'a name that is none' \
	iso-exec --session ../s box true

# What runs in a session outlives its client; what comes next has its turn.
mkfifo "$tmp/fifo"
box 'mkfifo /tmp/go'
iso-exec --session s box -- sh -c \
	'echo up; read -r x </tmp/go; echo "$x" >/tmp/done' >"$tmp/fifo" &
run=$!
exec 3<"$tmp/fifo"
read -r _ <&3
kill -KILL $run
wait $run 2>/dev/null
exec 3<&-
box 'echo went on >/tmp/go'
is "$(iso-exec --session s box cat /tmp/done)" 'went on' \
	'a command goes on without its client'
iso-exec --session s box -- exit 5
is $? 5 'a shell that exits ends its session'
is "$(iso-exec --session s box pwd)" / 'and the next begins anew'
done_testing
