#!/bin/bash
# SPDX-License-Identifier: MIT
#
# make install puts everything where a package would have it, it works from
# there, and make uninstall takes all of it away again.
set -u
. tests/shell/lib.sh

# Everything was built before the tests: as little as possible is built here.
install_to() { # install_to DESTDIR PREFIX TARGET
	try make --no-print-directory DESTDIR="$1" PREFIX="$2" "$3"
}
# What is there: mode, and name below DESTDIR.
listing() { (cd "$1" && find . ! -type d -printf '%m %P\n' | sort -k 2); }

dest=$tmp/dest
umask 077 # modes are the Makefile's matter
install_to "$dest" /usr install
is "$status" 0 'make install' || {
	echo 'Bail out! there is nothing to look at'
	exit 1
}
# Nobody types iso-vmm: it is not on the path.
programs=$(cd bin && printf '%s\n' iso-*.c | sed 's/\.c$//; /^iso-vmm$/d')
is "$(listing "$dest")" "$(
	{
		for p in $programs; do
			echo "755 usr/bin/$p"
			echo "644 usr/share/bash-completion/completions/$p"
			echo "644 usr/share/fish/vendor_completions.d/$p.fish"
			echo "644 usr/share/man/man1/$p.1"
			echo "644 usr/share/zsh/site-functions/_$p"
		done
		echo '755 usr/lib/isokit/iso-agent'
		echo '755 usr/lib/isokit/iso-vmm'
		echo '644 usr/share/man/man7/iso-agent.7'
		echo '644 usr/share/man/man8/iso-vmm.8'
	} | sort -k 2
)" 'these files, in these modes'
is "$(find "$dest" -mindepth 1 -type d ! -perm 755)" '' \
	'in directories that all can enter'

# ---- from there ----

usr=$dest/usr
for p in $programs; do
	try "$usr/bin/$p" --help
	is "$status" 0 "$p runs"
	cmp -s <("$usr/bin/$p" --completion bash) \
		"$usr/share/bash-completion/completions/$p"
	ok $? 'its completion is its own'
	is "$(mman -M "$usr/share/man" -w "$p" 2>"$err")" \
		"$usr/share/man/man1/$p.1" 'man finds its page'
done
is "$(mman -M "$usr/share/man" -w 7 iso-agent 2>"$err")" \
	"$usr/share/man/man7/iso-agent.7" 'and that of the agent'
is "$(mman -M "$usr/share/man" -w 8 iso-vmm 2>"$err")" \
	"$usr/share/man/man8/iso-vmm.8" 'and that of the monitor'
for p in iso-agent iso-vmm; do
	file=$(LC_ALL=C readelf -l "$usr/lib/isokit/$p" 2>"$err")
	case $file in
	*INTERP*) ok 1 "$p is linked statically" ;;
	*LOAD*) ok 0 "$p is linked statically" ;;
	*) ok 1 "$p is a program" ;;
	esac
done
refuses 2 'iso-vmm(8)' 'iso-vmm runs' "$usr/lib/isokit/iso-vmm"

# iso-kernel finds the agent beside it, that is, in ../lib/isokit; one that is
# not there is an error that names it.
python3 tests/shell/make-kernel.py tree "$tmp/tree" 2>"$err" &&
	python3 tests/shell/make-kernel.py deb "$tmp/tree" "$tmp/k.deb" 2>"$err"
ok $? 'a small kernel for it'
export ISO_ROOT=$tmp/root
try "$usr/bin/iso-kernel" -q "$tmp/k.deb"
is "$status" 0 'the installed iso-kernel makes an initramfs' ||
	sed 's/^/# /' "$err"
initramfs=$(sed -n 2p "$out")
try python3 -c 'import sys
agent, archive = (open(f, "rb").read() for f in sys.argv[1:])
sys.exit(agent not in archive)' "$usr/lib/isokit/iso-agent" "$initramfs"
ok "$status" 'with the installed agent in it'
mv "$usr/lib/isokit/iso-agent" "$tmp/agent"
refuses 1 'iso-agent' 'an agent that is not there is named' \
	"$usr/bin/iso-kernel" -q "$tmp/k.deb"
mv "$tmp/agent" "$usr/lib/isokit/iso-agent"

# iso-boot finds the monitor in the same place, and the programs that it runs
# beside itself.  Whether a machine comes to be is not asked here: in place of
# the monitor is one that says where it is.
mkdir "$tmp/empty"
tar -C "$tmp/empty" -cf "$tmp/layer.tar" . &&
	python3 tests/layers/layout.py "$tmp/oci" "$tmp/layer.tar" >"$out" 2>"$err"
ok $? 'a small image for it'
mv "$usr/lib/isokit/iso-vmm" "$tmp/vmm"
boot() {
	PATH=/usr/bin:/bin "$usr/bin/iso-boot" -q -k "$tmp/k.deb" "oci:$tmp/oci:v1"
}
refuses 1 'no monitor (iso-vmm)' 'a monitor that is not there is named' boot
cat >"$usr/lib/isokit/iso-vmm" <<'SH'
#!/bin/sh
echo "this is $(realpath "$0")" >&3
exit 1
SH
chmod 755 "$usr/lib/isokit/iso-vmm"
refuses 1 "this is $usr/lib/isokit/iso-vmm" \
	'the installed iso-boot starts the installed iso-vmm' boot
mv "$tmp/vmm" "$usr/lib/isokit/iso-vmm"

# ---- again, elsewhere, and away ----

install_to "$dest" /usr install
is "$status" 0 'make install over what is there'
touch "$usr/bin/somebody-elses"
install_to "$dest" /usr uninstall
is "$status" 0 'make uninstall'
is "$(listing "$dest" | cut -d ' ' -f 2)" usr/bin/somebody-elses \
	'leaves nothing of ours and all that is not'
[ ! -e "$usr/lib/isokit" ]
ok $? 'nor the directory that was ours alone'
install_to "$dest" /usr uninstall
is "$status" 0 'once more is no error'

install_to "$dest" /opt/iso install
is "$status:$(listing "$dest" | grep -c ' opt/iso/')" \
	"0:$((4 + 5 * $(echo "$programs" | wc -l)))" 'another PREFIX'
install_to "$dest" /opt/iso uninstall
is "$(listing "$dest" | cut -d ' ' -f 2)" usr/bin/somebody-elses \
	'and gone from there'
done_testing
