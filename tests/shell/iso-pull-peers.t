#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Images as other programs make and push them: by umoci and skopeo, and by
# buildah, to Debian's docker-registry.  iso-pull takes them from there,
# iso-mkrootfs builds them, and the tree is the one that umoci unpacks.  TAP on
# standard output; run by prove from the top of the repository, as root.
#
#	ISO_BIN		the programs (build/bin)
set -u

. tests/shell/lib.sh
. tests/registry.sh
. tests/pull.sh
. tests/erofs.sh

# done_or_bail COMMAND...: making the images is no test.
done_or_bail() {
	"$@" >"$tmp/made" 2>&1 || {
		echo "Bail out! $*"
		sed 's/^/# /' "$tmp/made"
		exit 1
	}
}

# A bit of everything that a layer can hold.
fill_tree() {
	local d=$1
	mkdir -p "$d"/{bin,etc,tmp,srv/gone,srv/hidden,srv/kept,srv/replaced,dev,opt}
	cp /bin/busybox "$d/bin/busybox"
	ln "$d/bin/busybox" "$d/bin/sh"
	ln -s busybox "$d/bin/rm"
	ln -s /nowhere/at/all "$d/etc/dangling"
	head -c 3000001 /dev/urandom >"$d/srv/kept/random"
	truncate -s 300001 "$d/srv/kept/zeros"
	: >"$d/srv/kept/empty"
	echo 'häßlich' >"$d/srv/kept/ünïcode"
	echo long >"$d/srv/kept/$(printf '%0200d' 0)"
	echo one >"$d/srv/gone/one"
	echo two >"$d/srv/replaced/two"
	echo three >"$d/srv/hidden/three"
	mkfifo "$d/srv/kept/fifo"
	mknod "$d/dev/null" c 1 3
	chmod 1777 "$d/tmp"
	chmod 4711 "$d/srv/kept/empty"
	chmod 0640 "$d/srv/kept/random"
	chown -R 1000:100000 "$d/srv/kept"
	setfattr -n user.note -v hello "$d/srv/kept/random"
	find "$d" -exec touch -h -d '2020-02-02 02:02:02.020202' {} +
}
done_or_bail fill_tree "$tmp/tree"
registry_start http

# arrives NAME REF: it is pulled and built; $rootfs is what was made of it.
arrives() {
	local name=$1 ref=$2
	pulls "$name is pulled" "$ref"
	try iso-mkrootfs -q "$(cat "$out")"
	rootfs=$(cat "$out")
	is "$status" 0 "and built"
}
# as_umoci LAYOUT:TAG: its tree is the one that umoci unpacks to $tmp/bundle.
as_umoci() {
	rm -rf "$tmp/bundle"
	umoci unpack --image "$1" "$tmp/bundle" >/dev/null 2>"$err"
	ok $? "umoci unpacks it"
	same "$rootfs" "$tmp/bundle/rootfs"
	ok $? "to the same tree: $(find "$tmp/bundle/rootfs" | wc -l) entries"
}
# as_made DIR: it is the tree that the image was made of, but for what the writers
# of layers leave out: fractions of seconds, links into lower layers, and the
# attributes of the root.
as_made() {
	same "$rootfs" "$1" mtime,nlink,inode,.=mode
	ok $? "the tree is the one that it was made of"
}
record() { jq -r "$1" "${rootfs%.erofs}.json"; }

# ---- umoci, pushed by skopeo -------------------------------------------------

new_root umoci
made=$tmp/umoci
make_umoci() {
	umoci init --layout "$made" && umoci new --image "$made:1.0" &&
		umoci insert --image "$made:1.0" "$tmp/tree" / &&
		umoci tag --image "$made:1.0" 0.1 &&
		umoci config --image "$made:1.0" --config.env A=b \
			--config.env 'C=d e' --config.entrypoint /bin/sh \
			--config.cmd -c --config.user 1000 \
			--config.workingdir /srv --config.label x=y &&
		umoci insert --image "$made:1.0" --whiteout /srv/gone &&
		umoci insert --image "$made:1.0" --opaque "$tmp/tree/etc" /srv/hidden
}
change_umoci() {
	local r=$tmp/change/rootfs
	umoci unpack --image "$made:1.0" "$tmp/change" &&
		rm -r "$r/srv/replaced" && echo file >"$r/srv/replaced" &&
		rm "$r/bin/rm" "$r/etc/dangling" && mkdir "$r/etc/dangling" &&
		ln "$r/srv/kept/random" "$r/etc/linked" &&
		setfattr -n user.more -v 1 "$r/srv/kept/zeros" &&
		chmod 2755 "$r/srv" &&
		umoci repack --image "$made:1.0" "$tmp/change"
}
done_or_bail make_umoci
done_or_bail change_umoci
push "oci:$made:0.1" "docker://$registry/umoci/img:0.1"
arrives "umoci's image of one layer" "$registry/umoci/img:0.1"
as_umoci "$made:0.1"
as_made "$tmp/tree"
push "oci:$made:1.0" "docker://$registry/umoci/img:1.0"
arrives "umoci's image" "$registry/umoci/img:1.0"
as_umoci "$made:1.0"
as_made "$tmp/change/rootfs"
is "$(record '.layers | length')" 4 "with four layers"
[ ! -e "$tmp/bundle/rootfs/srv/gone" ] &&
	[ -f "$tmp/bundle/rootfs/srv/replaced" ] &&
	[ "$(ls "$tmp/bundle/rootfs/srv/hidden")" = dangling ]
ok $? "of which the upper ones change the lower"
is "$(record '[.env[-2:], .entrypoint, .cmd, .labels] | tojson')" \
	'[["A=b","C=d e"],["/bin/sh"],["-c"],{"x":"y"}]' \
	"what umoci config set is in the record"
is "$(record '.user + " " + .workdir')" "1000 /srv" "and the user"
push --format v2s2 "oci:$made:1.0" "docker://$registry/umoci/img:docker"
arrives "the same in Docker's format" "$registry/umoci/img:docker"
as_umoci "$made:1.0"

# ---- buildah -----------------------------------------------------------------

# Nothing of buildah's is to be outside $tmp: its storage is there, in plain
# directories, and what cannot be told to it by an option is on file systems that
# end with it.
private=$tmp/buildah
mkdir -p "$private/tmp"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$private/policy.json"
: >"$private/registries.conf"
printf '[network]\nnetwork_config_dir = "%s/net"\n' "$private" \
	>"$private/containers.conf"
b() {
	env -u DOCKER_CONFIG CONTAINERS_CONF="$private/containers.conf" \
		TMPDIR="$private/tmp" unshare -m sh -c '
			mount -t tmpfs none /run &&
			mount -t tmpfs none /var/lib && exec "$@"' sh \
		buildah --root "$private/root" --runroot "$private/run" \
		--storage-driver vfs --registries-conf "$private/registries.conf" \
		--short-name-alias-conf "$private/aliases.conf" "$@"
}
commit() { # commit CONTAINER NAME: its tree is left in $private/tree.NAME
	b commit -q --signature-policy "$private/policy.json" "$1" "$2" &&
		ln -sT "$(b mount "$1")" "$private/tree.$2"
}
push_built() { # push_built IMAGE TAG [OPTION...]
	local image=$1 tag=$2
	shift 2
	b push -q --tls-verify=false --signature-policy "$private/policy.json" \
		"$@" "$image" "docker://$registry/buildah/img:$tag"
}

make_base() {
	tar -C "$tmp/tree" --xattrs -cf "$tmp/tree.tar" srv etc &&
		c=$(b from scratch) &&
		b copy -q "$c" "$tmp/tree" / &&
		b add -q "$c" "$tmp/tree.tar" /opt/unpacked &&
		b add -q --chown 7:8 "$c" "$tmp/tree/srv/kept/zeros" /opt/zeros &&
		b config --env A=b --env 'C=d e' --entrypoint '["/bin/sh"]' \
			--cmd -c --workingdir /srv --label x=y "$c" &&
		commit "$c" base
}
make_upper() {
	c=$(b from --pull-never --signature-policy "$private/policy.json" base) &&
		b run --isolation chroot "$c" -- /bin/sh -c '
			rm -r /srv/gone /srv/replaced && echo file >/srv/replaced &&
			ln /srv/kept/random /etc/linked && chmod 2755 /srv &&
			rm /etc/dangling && mkdir /etc/dangling' &&
		b config --user 1000 "$c" &&
		commit "$c" upper
}
done_or_bail make_base
done_or_bail make_upper
new_root buildah
tag=0
for image in base upper; do
	for options in '' '--format v2s2' '--disable-compression' \
		'--compression-format zstd'; do
		tag=$((tag + 1))
		name="buildah's $image${options:+, $options}"
		# shellcheck disable=SC2086 # options are words
		push_built "$image" "$tag" $options >"$err" 2>&1
		ok $? "$name is pushed"
		arrives "$name" "$registry/buildah/img:$tag"
		as_made "$private/tree.$image"
		# Which umoci does not know.
		[ "$options" != '--compression-format zstd' ] || continue
		skopeo copy -q --insecure-policy --src-tls-verify=false \
			"docker://$registry/buildah/img:$tag" \
			"oci:$tmp/peer:$tag" 2>"$err"
		as_umoci "$tmp/peer:$tag"
	done
done
is "$(record '.layers | length')" 2 "with two layers"
[ ! -e "$tmp/bundle/rootfs/srv/gone" ] &&
	[ -f "$tmp/bundle/rootfs/srv/replaced" ] &&
	[ -f "$tmp/bundle/rootfs/opt/unpacked/srv/kept/random" ]
ok $? "of which the upper one changes the lower"
is "$(record '[.env[-2:], .entrypoint, .cmd] | tojson')" \
	'[["A=b","C=d e"],["/bin/sh"],["-c"]]' \
	"what buildah config set is in the record"
is "$(record '.user + " " + .workdir + " " + .labels.x')" "1000 /srv y" \
	"and the user"

done_testing
