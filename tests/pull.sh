# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154 # variables are lib.sh's and registry.sh's
#
# What the tests of iso-pull share: sourced behind lib.sh and registry.sh.  No
# password and no proxy of whoever runs them is known; $img is a layout that is
# yet to be made.

cleanup() { servers_stop; }

unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR http_proxy https_proxy
export HOME=$tmp/home DOCKER_CONFIG=$tmp/docker
mkdir -p "$HOME" "$DOCKER_CONFIG"
# shellcheck disable=SC2034 # for the test
img=$tmp/img

make_image() { python3 tests/make-image.py "$@"; }
new_root() { export ISO_ROOT=$tmp/root.$1; }
push() {
	skopeo copy -q --insecure-policy --dest-tls-verify=false "$@" \
		>"$tmp/push" 2>&1 || sed 's/^/# skopeo: /' "$tmp/push"
}
images() { echo "$ISO_ROOT/images"; }
names() {
	jq -r '.manifests[].annotations["org.opencontainers.image.ref.name"]' \
		"$(images)/index.json"
}

# Nothing but right blobs; and, when it is whole, nothing on its way.
sound() {
	local f
	[ -d "$(images)/blobs/sha256" ] || return 0
	! ls -d "$(images)"/.tmp.* >/dev/null 2>&1 || return 1
	for f in "$(images)"/blobs/sha256/*; do
		[ ! -e "$f" ] || [ "$(sha256sum <"$f")" = "${f##*/}  -" ] ||
			return 1
	done
}
whole() {
	sound && ! ls -d "$(images)"/.partial/* >/dev/null 2>&1
}

# One that never ends is a failure, too.
#
# pulls NAME REF [OPTION...]: it works, prints one line, and the store is whole.
pulls() {
	local name=$1 ref=$2
	shift 2
	try timeout 60 iso-pull "$@" "$ref"
	[ "$status" -eq 0 ] && [ "$(wc -l <"$out")" -eq 1 ] &&
		grep -q '@sha256:[0-9a-f]\{64\}$' "$out" && whole
	ok $? "$name" || echo "# status $status"
}

# fails TEXT NAME REF [OPTION...]: exit 1, one line with TEXT and perhaps a
# remedy, no name in the store, and what is there is right.
fails() {
	local text=$1 name=$2 ref=$3
	shift 3
	new_root "fails.$tests"
	if refuses 1 "$text" "$name" timeout 60 iso-pull -q "$@" "$ref"; then
		{ [ -z "$(names)" ] && sound; } || ok 1 "$name: half of it is there"
	fi
	rm -rf "$ISO_ROOT"
}

# auth HOST USER:PASSWORD: a config.json with it.
auth() {
	printf '{"auths":{"%s":{"auth":"%s"}}}' "$1" \
		"$(printf '%s' "$2" | base64 -w0)"
}

# certificate FILE TYPE [OPTION...]: FILE.pem, signed by itself, and FILE.key.
certificate() {
	local file=$1 type=$2
	shift 2
	openssl req -x509 -newkey "$type" "$@" -nodes -days 30 \
		-subj /CN=localhost \
		-addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
		-keyout "$file.key" -out "$file.pem" 2>/dev/null
}
tls_certificate() { certificate "$1" ec -pkeyopt ec_paramgen_curve:P-256; }
