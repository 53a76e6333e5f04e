# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Sourced: a small image to measure with.

# make_image DIRECTORY: busybox's, pulled; prints its name.  For a subshell, which
# ends where it fails.
make_image() {
	local a dir=$1
	set -e
	mkdir -p "$dir/root/bin"
	cp /bin/busybox "$dir/root/bin"
	for a in $(/bin/busybox --list); do
		[ "$a" = busybox ] || ln -s busybox "$dir/root/bin/$a"
	done
	umoci init --layout "$dir/layout"
	umoci new --image "$dir/layout:1.0"
	umoci insert --image "$dir/layout:1.0" "$dir/root" /
	iso-pull -q "oci:$dir/layout:1.0"
}
