#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Sandboxes of images: a distribution, one of busybox, and one of a single static
# program; and what iso-boot refuses.  See tests/sandbox.sh.
set -u
. tests/shell/lib.sh
. tests/sandbox.sh
sandbox_begin python busybox static

# At once, which is no slower.
iso-boot -q --cold -n py -c 2 -m 512M "$(of python)" >"$tmp/id.py" 2>"$tmp/err.py" &
a=$!
iso-boot -n box -m 128M "$(of busybox)" >"$tmp/id.box" 2>"$tmp/err.box" &
b=$!
iso-boot -j --cold -n bare -m 128M "$(of static)" >"$tmp/json" 2>"$tmp/err.bare" &
wait $!
is "$?" 0 'iso-boot: one static program' || sed 's/^/# /' "$tmp/err.bare"
wait $a
is "$?" 0 'Debian with python3' || sed 's/^/# /' "$tmp/err.py"
wait $b
is "$?" 0 'busybox' || sed 's/^/# /' "$tmp/err.box"
ids=$(cat "$tmp/id.py" "$tmp/id.box" && jq -r .id "$tmp/json")
[[ $ids =~ ^(run[0-9a-f]{16}$'\n'){2}run[0-9a-f]{16}$ ]]
ok $? 'each prints its id' || echo "# $ids"
is "$(cat "$tmp/err.py")" '' 'and -q nothing else'
is "$(jq -r '[.name, .vcpus, .memory, .us.ready > .us.vmm] | join(" ")' \
	"$tmp/json")" 'bare 1 134217728 true' '--json'
[ -s "$tmp/id.py" ] || { echo 'Bail out! no sandbox'; exit 1; }

refuses 2 'latest' 'a reference that moves is refused' iso-boot debian:latest
refuses 1 'is that of' 'a name that is taken' \
	iso-boot -q -n box "$(of busybox)"
refuses 2 'not a name' 'a name that is none' iso-boot -n ../x "$(of busybox)"
refuses 2 'looks like an id' 'or like an id' iso-boot -n run1 "$(of busybox)"
refuses 2 'sets no variable' 'a variable that is none' \
	iso-boot -e =x "$(of busybox)"
refuses 1 'none.oci' 'an image that is not there' \
	iso-boot -q "oci:$tmp/none.oci:v1"
is "$(iso-ps -q | wc -l)" 3 'and nothing comes of any of these'

# ---- Debian ------------------------------------------------------------------

is "$(iso-exec py -- python3 -c 'print(sum(i * i for i in range(10**5)))')" \
	333328333350000 'python3 computes'
cat >"$tmp/fork.py" <<'PY'
import os
r, w = os.pipe()
pids = []
for i in range(200):
    pid = os.fork()
    if pid == 0:
        os.close(w)
        os.read(r, 1)
        os._exit(i % 7)
    pids.append(pid)
alive = sum(os.path.exists(f"/proc/{p}") for p in pids)
os.close(w)
print(alive, sum(os.WEXITSTATUS(os.waitpid(p, 0)[1]) for p in pids))
PY
is "$(iso-exec py -- python3 - <"$tmp/fork.py")" '200 594' \
	'200 processes at once, each with its status'

mib=$(count 64 1024 1024)
cat >"$tmp/disk.py" <<'PY'
import hashlib, os, sys
n, piece = int(sys.argv[1]), os.urandom(1 << 20)
def sums():
    want = hashlib.blake2b()
    with open("/root/big", "rb") as f:
        while b := f.read(1 << 20):
            want.update(b)
    return want.hexdigest()
h = hashlib.blake2b()
with open("/root/big", "wb") as f:
    for i in range(n):
        b = i.to_bytes(8, "little") + piece[8:]
        h.update(b)
        f.write(b)
os.sync()
open("/proc/sys/vm/drop_caches", "w").write("3")
print(sums() == h.hexdigest(), os.stat("/root/big").st_size >> 20)
os.unlink("/root/big")
PY
is "$(iso-exec py -- python3 - "$mib" <"$tmp/disk.py")" "True $mib" \
	"$mib MiB written to scratch and read back from it"

mkdir -p "$tmp/deb/DEBIAN" "$tmp/deb/usr/bin"
printf '%s\n' 'Package: isokit-probe' 'Version: 1.0' 'Architecture: all' \
	'Maintainer: nobody <nobody@localhost>' 'Description: a probe' \
	>"$tmp/deb/DEBIAN/control"
printf '#!/bin/sh\necho installed and run\n' >"$tmp/deb/usr/bin/isokit-probe"
chmod 755 "$tmp/deb/usr/bin/isokit-probe"
dpkg-deb --root-owner-group -b "$tmp/deb" "$tmp/probe.deb" >/dev/null
iso-cp "$tmp/probe.deb" py:/tmp/
is "$(iso-exec py -- sh -c \
	'PATH=$PATH:/usr/sbin:/sbin; dpkg -i /tmp/probe.deb >/dev/null &&
	isokit-probe && dpkg-query -W isokit-probe' 2>"$err" | xargs)" \
	'installed and run isokit-probe 1.0' 'a package is installed from a file'

is "$(iso-exec -u daemon py -- sh -c 'id -un; id -gn; echo $HOME' | xargs)" \
	'daemon daemon /usr/sbin' '-u by the name of its own passwd'
refuses 127 "no user 'nobody-here'" 'a user that it does not have' \
	iso-exec -u nobody-here py true
is "$(iso-exec py -- sh -c 'stat -c %a /opt/app /usr/bin/tac; nproc' | xargs)" \
	'755 4711 2' 'the image is as its layers say, and has two processors'

# ---- busybox, and one static program -----------------------------------------

is "$(iso-exec box -- sh -c 'echo one >/bin/file; cat /bin/file; ls / | xargs' |
	tail -n 1)" 'bin dev etc proc run sys tmp' \
	'what an image lacks to be run is there'
try iso-exec bare -- /app 'a  b' ''
is "$status:$(cat "$out")" '3:[a  b][]' 'a program without anything around it'
is "$(iso-exec bare -- sh -c 'echo $((6 * 7)); ls / | grep -x app' | xargs)" \
	'42 app' 'sh -c where the image has no shell'
is "$(iso-exec bare env | grep -c '^PATH=.*/run/iso/bin')" 1 \
	'which is in its PATH'
done_testing
