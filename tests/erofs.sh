# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # variables are lib.sh's
#
# EROFS images compared with trees: sourced behind lib.sh, by tests run as root.

# Where EROFS can be mounted: here, or in the emulated host.  That one shows our
# files without the extended attributes that users may set.
there=()
hidden=
if ! grep -qw erofs /proc/filesystems && ! modprobe erofs 2>/dev/null; then
	# Whatever ISO_ROOT is to become, the host is in the one of now.
	there=(env "ISO_ROOT=${ISO_ROOT:-build/iso}" "$bin/iso-host" run)
	"${there[@]}" modprobe -a erofs loop
	hidden=xattr:user.note,xattr:user.more
fi

# same IMAGE TREE [KEYS]: whether the tree that the EROFS holds is that one, but
# for KEYS (as tree-diff takes them).
same() {
	"${there[@]}" sh -c 'd=$(mktemp -d /tmp/XXXXXX) &&
		mount -t erofs -o ro,loop "$1" "$d" && {
			"$0" -x "$3" "$2" "$d"
			r=$?
			umount "$d"
			rmdir "$d"
			exit $r
		}' "$PWD/tests/tree-diff" "$1" "$2" "${3-},$hidden" >"$err" 2>&1
}
