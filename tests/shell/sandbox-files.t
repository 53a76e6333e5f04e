#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-cp: trees and files in both directions, and guests that lie.  See
# tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin busybox notify
box_begin --cold

# ---- in and out --------------------------------------------------------------

mkdir -p "$tmp/tree/sub/empty"
head -c 300000 /dev/urandom >"$tmp/tree/data"
printf x >"$tmp/tree/sub/odd name
of two lines"
chmod 751 "$tmp/tree/data"
chmod 700 "$tmp/tree/sub"
ln -s sub/none "$tmp/tree/dangling"
ln -s /etc/passwd "$tmp/tree/absolute"
ln "$tmp/tree/data" "$tmp/tree/hard"
show() { (cd "$1" && find . -printf '%P\0%y\0%m\0%l\n' | sort | sha256sum); }

iso-cp "$tmp/tree" box:/tmp/tree && iso-cp box:/tmp/tree "$tmp/back"
is "$?" 0 'a tree in, and out again'
is "$(show "$tmp/back")" "$(show "$tmp/tree")" 'with its modes and links'
cmp "$tmp/tree/data" "$tmp/back/data" 2>"$err"
ok $? 'and its bytes'
iso-cp "$tmp/tree/data" box:/tmp/f && iso-cp box:/tmp/f "$tmp/f"
cmp "$tmp/tree/data" "$tmp/f" 2>"$err"
ok $? 'a file'
is "$(box 'stat -c %a /tmp/f') $(stat -c %a "$tmp/f")" '751 751' 'and its mode'
iso-cp "$tmp/f" box:/tmp/tree && iso-cp box:/tmp/tree/f "$tmp/back"
cmp "$tmp/f" "$tmp/back/f" 2>"$err"
ok $? 'into a directory'
echo text | iso-cp - box:/tmp/in
is "$(iso-cp box:/tmp/in -)" text 'stdin and stdout'
is "$(iso-cp box:/tmp/tree - | tar -t | sort | head -n 3 | xargs)" \
	'tree/ tree/absolute tree/dangling' 'a directory there is an archive'
iso-cp -p -u 12:34 "$tmp/f" box:/tmp/p/q/r 2>"$err"
is "$(box 'stat -c %u:%g:%a /tmp/p/q/r')" 12:34:751 '-p and -u'
iso-cp box:/tmp/in - | iso-cp - box:/tmp/p/q/r
is "$(box 'stat -c %u:%g:%a /tmp/p/q/r; cat /tmp/p/q/r' | xargs)" \
	'12:34:751 text' 'one that is there keeps owner and mode'

touch -d @1000000000 "$tmp/tree/data"
chown 12:34 "$tmp/tree/data"
chmod 4711 "$tmp/tree/data"
age() { stat -c '%a %u:%g %Y' "$1/data"; }
iso-cp -q --preserve "$tmp/tree" box:/tmp/old
iso-cp -q --preserve box:/tmp/old "$tmp/old"
iso-cp -q box:/tmp/old "$tmp/new"
is "$(age "$tmp/old")" '4711 12:34 1000000000' '--preserve'
is "$(age "$tmp/new" | cut -d ' ' -f 1,2)" '711 0:0' 'and without it'

refuses 1 'no such file' 'a file that is not there' \
	iso-cp box:/none "$tmp/none"
refuses 1 'Permission denied' 'a file that is not its' \
	iso-cp -u 12 "$tmp/f" box:/f
refuses 2 'neither' 'nothing in a sandbox' iso-cp "$tmp/f" "$tmp/g"
refuses 1 'more than 1000' '--max-size' \
	iso-cp --max-size 1000 box:/tmp/tree "$tmp/big"
rm -rf "$tmp/big"
box 'mkfifo /tmp/tree/fifo; mknod /tmp/tree/null c 1 3'
try iso-cp box:/tmp/tree "$tmp/dev"
is "$status:$(find "$tmp/dev" -type p -o -type c)" 0: \
	'devices and FIFOs are not made here'
like "$(cat "$err")" 'left out 2 devices' 'and that is said'

# ---- broken off --------------------------------------------------------------

# A tree: what is made and removed in the directory is told by the guest.
mkdir "$tmp/huge"
truncate -s 1G "$tmp/huge/file"
box 'mkdir /tmp/cut'
mkfifo "$tmp/fifo"
iso-cp "$notify" box:/tmp/notify
iso-exec --timeout 300 box /tmp/notify /tmp/cut >"$tmp/fifo" &
exec 3<"$tmp/fifo"
read -r line <&3
iso-cp "$tmp/huge" box:/tmp/cut &
copy=$!
read -r line <&3
like "$line" '.tmp.' 'a tree is unpacked under another name'
kill -KILL $copy
wait $copy 2>/dev/null
read -r line2 <&3
is "$line2" "-${line#+}" 'which is removed when the copy is broken off'
is "$(box 'ls -A /tmp/cut')" '' 'and nothing is left'
exec 3<&-

# A file: more than is on the way has been taken when this has been given.
iso-cp - box:/tmp/cut/new <"$tmp/fifo" &
copy=$!
exec 3>"$tmp/fifo"
head -c 2M /dev/zero >&3
kill -KILL $copy
wait $copy 2>/dev/null
exec 3>&-
is "$(box 'ls -A /tmp/cut')" '' 'nor of a file'

# ---- guests that lie ---------------------------------------------------------

# A link that an earlier copy left is not followed by a later one.
mkdir "$tmp/outside"
box "rm -rf /tmp/e; mkdir -p /tmp/e/a; ln -s '$tmp/outside' /tmp/e/a/x"
iso-cp box:/tmp/e "$tmp/e"
box 'rm /tmp/e/a/x; mkdir /tmp/e/a/x; echo evil >/tmp/e/a/x/file'
iso-cp box:/tmp/e/a "$tmp/e" 2>"$err"
is "$(ls "$tmp/outside")" '' 'a link from the guest leads nowhere'

# A guest whose agent lies: another one's directory with a server of ours.
cat >"$tmp/liar.py" <<'PY'
import io, os, socket, struct, sys, tarfile
HELLO, OPEN, STARTED, DATA, EOF, EXIT = 1, 16, 17, 19, 20, 24
path, out = sys.argv[1:]
def frame(kind, stream=0, payload=b"", channel=0):
    return struct.pack("<HBBI", len(payload), kind, channel, stream) + payload
def entry(t, name, kind=tarfile.REGTYPE, link="", data=b"evil"):
    i = tarfile.TarInfo(name)
    i.type, i.linkname = kind, link
    i.size = len(data) if kind == tarfile.REGTYPE else 0
    t.addfile(i, io.BytesIO(data) if i.size else None)
def archive(n):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        entry(t, "d", tarfile.DIRTYPE)
        if n == 0:
            entry(t, "d/../../escaped")
        elif n == 1:
            entry(t, out + "/escaped")
        elif n == 2:
            entry(t, "d/l", tarfile.SYMTYPE, out)
            entry(t, "d/l/escaped")
        elif n == 3:
            entry(t, "d/l", tarfile.SYMTYPE, out)
            entry(t, "d/h", tarfile.LNKTYPE, "d/l/secret")
            entry(t, "d/h")
        elif n == 4:
            entry(t, "other")
        elif n == 5:
            entry(t, "d/h", tarfile.LNKTYPE, out + "/secret")
            entry(t, "d/h")
    return b.getvalue()
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen(20)
print("ready", flush=True)
n = 0
while n < 6:
    c, _ = s.accept()
    f = c.makefile("rb")
    f.readline()
    c.sendall(b"OK 1\n" + frame(HELLO, 0, struct.pack("<IHH", 0x616f7369, 1, 0)))
    while head := f.read(8):
        length, kind, channel, stream = struct.unpack("<HBBI", head)
        body = f.read(length)
        if kind != OPEN:
            continue
        at, verb = 4, 0
        while at < len(body):
            tag, _, size = struct.unpack_from("<HHI", body, at)
            if tag == 11:
                verb = struct.unpack_from("<I", body, at + 8)[0]
            at += 8 + size
        if verb == 5:
            data = archive(n)
            n += 1
        else:
            data = b"d 755 0 0 4096 0 d\0\0"
        c.sendall(frame(STARTED, stream, bytes(4)) +
                  frame(DATA, stream, data, 1) +
                  frame(EOF, stream, b"", 1) + frame(EOF, stream, b"", 2) +
                  frame(EXIT, stream, bytes(32)))
        break
    f.read()
PY
liar=run0000000000000bad
mkdir "$ISO_ROOT/run/$liar"
echo secret >"$tmp/outside/secret"
python3 "$tmp/liar.py" "$ISO_ROOT/run/$liar/vsock.sock" "$tmp/outside" \
	>"$tmp/fifo" 2>"$tmp/liar.err" &
pid=$!
read -r line <"$tmp/fifo"
mkdir "$tmp/jail"
said=
for i in 0 1 2 3 4 5; do
	try timeout 60 iso-cp "$liar:/d" "$tmp/jail/$i"
	said+=$status
done
is "$(ls "$tmp/outside"; find "$tmp" -name escaped; cat "$tmp/outside/secret")" \
	'secret
secret' 'six archives of a hostile guest: none gets out'
is "$said" 111111 'and each is refused' || cat "$tmp/liar.err"
kill $pid 2>/dev/null
wait $pid 2>/dev/null
rm -rf "${ISO_ROOT:?}/run/$liar"

done_testing
