#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-pull, whole: TAP on standard output; run by prove from the top of the
# repository.  Against Debian's docker-registry over HTTP, images pushed by
# skopeo; and against bad-registry.py, which has a token server and does wrong
# what can be done wrong.  TLS, passwords and tokens are iso-pull-auth.t's, images
# as other programs make them iso-pull-peers.t's.
#
#	ISO_BIN			the programs (build/bin)
#	ISO_TEST_KILLS		how often one is killed at random (50)
set -u

. tests/shell/lib.sh
. tests/registry.sh
. tests/pull.sh

# ---- references --------------------------------------------------------------

new_root refs
refuses 2 "no tag means 'latest'" "no tag" iso-pull debian
refuses 2 "the tag 'latest' floats" "latest" iso-pull debian:latest
refuses 2 "the tag 'stable-slim' floats" "stable-slim" iso-pull debian:stable-slim
refuses 2 "the tag 'lts' floats" "lts" iso-pull localhost:5/node:lts
iso-pull debian 2>&1 | grep -q 'try: .*@sha256:.*--allow-floating'
ok $? "the remedy is named"
refuses 2 "lower-case letters" "an upper-case name" iso-pull a/Debian:12
refuses 2 "sha256: and 64" "a short digest" iso-pull debian@sha256:12
refuses 2 "'sha512' is not sha256" "another algorithm" \
	iso-pull "debian@sha512:$(printf '%0128d' 0)"
refuses 2 "control character" "a control character" iso-pull $'debian:1\n2'
refuses 2 "wants a REF" "no reference" iso-pull
refuses 2 "not a platform" "a platform" iso-pull -p linux debian:12
refuses 2 "not an open descriptor" "a closed descriptor" \
	iso-pull --json-fd 77 debian:12
refuses 1 "is not in" "a digest alone" iso-pull "sha256:$(printf '%064d' 0)"
refuses 1 "No such file" "no such layout" iso-pull oci:"$tmp/none"
refuses 1 "onnect" "nobody listens" iso-pull -q 127.0.0.1:1/a:1

# ---- a real registry, plain HTTP on loopback ---------------------------------

make_image layout "$img" 1.0 --layer 300K --layer 200K:none --layer 100K:gzip:text \
	--layer 3M:gzip:random >"$tmp/digest"
make_image layout "$img" zstd --layer 300K:zstd --layer 10K:none >/dev/null
make_image layout "$img" index --index --layer 20K --layer 10K >"$tmp/index"
make_image layout "$img" arm --arch arm64 --layer 20K >/dev/null
make_image layout "$img" big --layer 40M:none:random --layer 1M >/dev/null
registry_start http
for t in 1.0 zstd arm big index; do
	push --all --preserve-digests "oci:$img:$t" \
		"docker://$registry/a/img:$t"
done
push --format v2s2 "oci:$img:1.0" "docker://$registry/a/img:docker"
push --format v2s2 --all "oci:$img:index" "docker://$registry/a/img:list"

new_root http
pulls "an image over HTTP" "$registry/a/img:1.0"
is "$(cat "$out")" "$registry/a/img@$(cat "$tmp/digest")" "it prints name@digest"
is "$(skopeo inspect --format '{{.Digest}}' "oci:$(images):$registry/a/img:1.0")" \
	"$(cat "$tmp/digest")" "skopeo reads the store"
umoci unpack --image "$(images):$registry/a/img:1.0" "$tmp/bundle" \
	>/dev/null 2>"$err" && [ -d "$tmp/bundle/rootfs/etc" ]
ok $? "so does umoci"
before=$(grep -c '"GET /v2/a/img/blobs' "$tmp/server.http")
pulls "again" "$registry/a/img:1.0"
is "$(grep -c '"GET /v2/a/img/blobs' "$tmp/server.http")" "$before" \
	"no layer is loaded twice"
pulls "by digest" "$registry/a/img@$(cat "$tmp/digest")"
pulls "by tag and digest" "$registry/a/img:1.0@$(cat "$tmp/digest")"
pulls "Docker's media types" "$registry/a/img:docker"
pulls "zstd and no compression" "$registry/a/img:zstd"
pulls "from an index" "$registry/a/img:index"
read -r index manifest <"$tmp/index"
is "$(cat "$out")" "$registry/a/img@$manifest" "the image for this platform"
pulls "by the index's digest" "$registry/a/img@$index"
is "$(cat "$out")" "$registry/a/img@$manifest" "gives the same"
pulls "for another platform" "$registry/a/img:index" -p linux/arm64
[ "$(cat "$out")" != "$registry/a/img@$manifest" ]
ok $? "is another image"
pulls "from a manifest list" "$registry/a/img:list"
pulls "a big layer in ranges" "$registry/a/img:big"
is "$(names | sort | uniq -d)" "" "no name twice"
try iso-pull --allow-floating "$registry/a/img"
like "$(cat "$err")" "img:latest: 404" "--allow-floating: no tag is latest"

new_root http2
fails "manifest unknown" "no such tag" "$registry/a/img:none"
fails "404" "no such repository" "$registry/no/img:1"
fails "for linux/arm64, not for linux/amd64" "for another machine" \
	"$registry/a/img:arm"
fails "there is linux/arm64, linux/amd64" "no such platform" \
	"$registry/a/img:index" -p linux/riscv64
refuses 1 "--ca: cannot read" "no such certificate" \
	iso-pull --ca "$tmp/none" "$registry/a/img:1.0"

# events and talk
new_root events
try iso-pull --json-fd 5 "$registry/a/img:1.0" 5>"$tmp/events"
is "$(jq -r .event "$tmp/events" | sort -u | grep -v progress | xargs)" \
	"done layer resolved" "events on a descriptor"
is "$(jq -r 'select(.event == "layer" and .layer > 0) | .layer' "$tmp/events" |
	sort | xargs)" "1 2 3 4" "one for each layer"
is "$(grep -c '^iso-pull: layer . of 4: done' "$err")" 4 "a line a layer in a log"
iso-pull -q --json-fd 5 "$registry/a/img:none" 5>"$tmp/events" 2>/dev/null
is "$(jq -r .event "$tmp/events")" "failed" "an event for the failure"
new_root tty
script -qec "iso-pull $registry/a/img:big" /dev/null >"$out" 2>&1 </dev/null
like "$(cat "$out")" $'\033[J' "a terminal has lines that move"
like "$(tr -d '\r' <"$out")" "layer 1 of 2: done" "and a line a layer"

# ---- at once, and killed -----------------------------------------------------

new_root many
: >"$tmp/server.http"
pids=
for i in $(seq 20); do
	iso-pull -q "$registry/a/img:1.0" >"$out.$i" 2>"$err.$i" &
	pids="$pids $!"
done
good=0
for pid in $pids; do
	wait "$pid" || good=1
done
ok $good "20 at once"
is "$(cat "$out".? "$out".?? | sort | uniq -c | xargs)" \
	"20 $registry/a/img@$(cat "$tmp/digest")" "say the same"
whole
ok $? "the store is whole"
is "$(grep -c '"GET /v2/a/img/blobs' "$tmp/server.http")" 5 \
	"and everything was loaded once"

new_root kill
good=0
for i in $(seq "${ISO_TEST_KILLS:-50}"); do
	rm -rf "$ISO_ROOT"
	iso-pull -q "$registry/a/img:big" >/dev/null 2>&1 &
	pid=$!
	# Within the time that it takes, or a bit later.
	read -rt "0.$((i % 4 / 3))$((RANDOM % 10))$((RANDOM % 10))" <> <(:)
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	try iso-pull -q "$registry/a/img:big"
	if [ "$status" -ne 0 ] || ! whole; then
		good=1
		break
	fi
done
ok $good "killed at random moments, the next run is right"

# ---- a registry that misbehaves ----------------------------------------------

bad=$tmp/bad
make_image layout "$bad" 1.0 --layer 50K --layer 2M:none:random >"$tmp/bad-digest"
make_image layout "$bad" big --layer 60M:none:random >/dev/null
for wrong in foreign encrypted artifact diff_ids; do
	make_image layout "$bad" "$wrong" --layer 10K --layer 20K --break $wrong >/dev/null
done
server_start bad python3 tests/bad-registry.py "$bad" "$tmp/bad.log"
registry=127.0.0.1:$port
log() {
	jq -r "select(.path | startswith(\"/v2/$1/\") or
		startswith(\"/token/$1\")) | $2" "$tmp/bad.log"
}
sum() { awk '{ n += $1 } END { print n }'; }
total() { jq -s 'map(.size) | add' <<<"$(jq '.config, .layers[]' "$bad/blobs/sha256/$1")"; }

new_root good
pulls "it can be good" "$registry/plain/img:1.0"
pulls "and big" "$registry/plain/img:big"
[ "$(log plain 'select(.range) | .range' | wc -l)" -ge 4 ]
ok $? "in ranges"
new_root noranges
pulls "without ranges" "$registry/noranges/img:big"
new_root cut
pulls "cut ten times" "$registry/cut/img:1.0"
size=$(total "$(cut -d: -f2 "$tmp/bad-digest")")
sent=$(log cut 'select(.path | contains("blobs")) | .sent' | sum)
[ "$sent" -le $((size * 12 / 10)) ]
ok $? "costs at most 1.2 times the bytes" || echo "# $sent for $size"
is "$(log cut 'select(.sent > 0 and .range) | .range' | wc -l)" 10 "ten times"
new_root cut-big
pulls "cut ten times in ranges" "$registry/cut/img:big"
sent=$(log cut 'select(.path | contains("blobs")) | .sent' | sum)
[ "$sent" -le $(((60 + 3) * (1 << 20) * 12 / 10)) ]
ok $? "costs little more, too" || echo "# $sent"
new_root cut-noranges
pulls "cut, and no ranges" "$registry/cut-noranges/img:1.0"
new_root cut-always
fails "closed with" "cut always" "$registry/cut-always/img:1.0" --tries 3
like "$(cat "$err")" "try: again later: 3 tries failed in a row" "a remedy is named"
new_root resume
try iso-pull -q --tries 1 "$registry/cut-always/img:1.0"
is "$status" 1 "a pull that fails"
stat -c %s "$(images)"/.partial/* | grep -q '^1000$'
ok $? "keeps what has arrived"
pulls "another goes on there" "$registry/plain/img:1.0"
log plain 'select(.range) | .range' | grep -q '^bytes=1000-'
ok $? "by a range"
new_root spoilt
try iso-pull -q --tries 1 "$registry/cut-always/img:1.0"
for f in "$(images)"/.partial/*; do
	case $f in
	*.lock) ;;
	*) printf X | dd of="$f" conv=notrunc status=none ;;
	esac
done
pulls "what was left there was spoilt" "$registry/plain/img:1.0"
new_root stall
pulls "a stall in mid-blob" "$registry/stall/img:1.0" --stall 1
new_root silent
pulls "silence" "$registry/silent/img:1.0" --stall 1
new_root busy
pulls "429 with Retry-After" "$registry/busy/img:1.0"
like "$(cat "$err")" "429 too many requests; again in 1.0 s" "it says so"
new_root busy-date
pulls "429 with a date" "$registry/busy-date/img:1.0"
new_root e500
pulls "500 twice" "$registry/e500-twice/img:1.0"
new_root reset
pulls "reset twice" "$registry/reset/img:1.0"
new_root relative
pulls "a relative redirect" "$registry/relative/img:1.0"
new_root elsewhere
pulls "a redirect to another server" "$registry/elsewhere/img:1.0"
pulls "with ranges" "$registry/elsewhere/img:big"

new_root fails
fails "500 server error" "500 for ever" "$registry/e500/img:1.0" --tries 2
fails "503 unavailable" "503 for blobs" "$registry/e503/img:1.0" --tries 2
fails "429 too many" "come back in an hour" "$registry/busy-long/img:1.0"
like "$(cat "$err")" "try: again in 3600 s" "the remedy is named"
fails "403 forbidden" "403" "$registry/e403/img:1.0"
is "$(log e403 .path | wc -l)" 1 "is asked for once"
fails "404 not found" "404 for blobs" "$registry/gone/img:1.0"
fails "wrong digest" "wrong bytes" "$registry/digest/img:1.0"
fails "wrong digest" "a manifest that is not what it says" "$registry/lie/img:1.0"
fails "wrong digest" "and by digest" "$registry/lie/img@$(cat "$tmp/bad-digest")"
fails "wrong size" "a blob that is too long" "$registry/long/img:1.0"
fails "wrong size" "a blob that is too short" "$registry/short/img:1.0"
fails "wrong size" "a range of another blob" "$registry/wrong-range/img:big"
fails "another range" "another range" "$registry/shifted/img:big"
fails "sends more than" "a blob without end" "$registry/endless/img:1.0"
fails "more than 5 redirects" "redirects in a circle" "$registry/loop/img:1.0"
fails "is not followed: 'file:///etc/passwd'" "a redirect to a file" \
	"$registry/file/img:1.0"
fails "text/html" "HTML for a manifest" "$registry/html/img:1.0"
fails "not JSON" "text for a manifest" "$registry/text/img:1.0"
fails "nested deeper" "a manifest that is deep" "$registry/nested/img:1.0"
fails "JSON values" "a manifest of a million values" "$registry/many/img:1.0"
fails "longer than" "a manifest without end" "$registry/large/img:1.0"
fails "schema 1" "schema 1" "$registry/schema1/img:1.0"
fails "two things" "a manifest that is an index too" "$registry/both/img:1.0"
fails "foreign layer" "a foreign layer" "$registry/plain/img:foreign"
fails "is not a tar, gzip or zstd layer" "an encrypted layer" \
	"$registry/plain/img:encrypted"
fails "an artifact of type" "an artifact" "$registry/plain/img:artifact"
fails "names 1 layers, its manifest 2" "a config with too few layers" \
	"$registry/plain/img:diff_ids"

new_root token
pulls "a token for nobody" "$registry/token/img:1.0"
auth "$registry" 'user:secret word' >"$DOCKER_CONFIG/config.json"
new_root token-user
pulls "a token for a user" "$registry/token-user/img:1.0"
new_root token-expire
pulls "tokens that run out" "$registry/token-expire/img:1.0"
new_root token-busy
pulls "a token server that is busy" "$registry/token-busy/img:1.0"
new_root token-elsewhere
pulls "a redirect, with a token" "$registry/token-elsewhere/img:1.0"
is "$(jq -r 'select(.server == "other") | .auth' "$tmp/bad.log" | sort -u)" null \
	"no token goes to the other server"
is "$(grep -c secret "$err" "$tmp/bad.log" | grep -vc ':0$')" 0 "no password in a log"
echo "{\"auths\":{\"$registry\":{\"identitytoken\":\"identity\"}}}" \
	>"$DOCKER_CONFIG/config.json"
new_root token-identity
pulls "an identity token" "$registry/token-identity/img:1.0"
rm "$DOCKER_CONFIG/config.json"
new_root token-fails
fails "the token server refused: 401" "a token server that refuses" \
	"$registry/token-user/img:1.0"
! grep -q $'\033' "$err"
ok $? "its message cannot move the cursor"
fails "holds no token" "a token server that says HTML" "$registry/token-html/img:1.0"
fails "holds no token" "an empty answer" "$registry/token-empty/img:1.0"
fails "holds no token" "a token that is two headers" "$registry/token-inject/img:1.0"
! grep -q Injected "$tmp/bad.log"
ok $? "is never sent"
fails "401" "a token that is not taken" "$registry/token-wrong/img:1.0"
is "$(log token-wrong .path | wc -l)" 3 "is tried once"
fails "longer than" "a token without end" "$registry/token-endless/img:1.0"
fails "not https" "a realm that is no address" "$registry/token-realm/img:1.0"
fails "401" "no realm at all" "$registry/token-none/img:1.0"

# a registry that speaks TLS, and leads to where none is spoken
tls_certificate "$tmp/tls"
server_start bad-tls python3 tests/bad-registry.py "$bad" "$tmp/bad-tls.log" \
	"$tmp/tls.pem" "$tmp/tls.key"
registry=127.0.0.1:$port
new_root bad-tls
pulls "the same over TLS" "$registry/cut/img:1.0" --ca "$tmp/tls.pem"
fails "is not followed: 'http://" "a redirect from https to http" \
	"$registry/elsewhere/img:1.0" --ca "$tmp/tls.pem"
fails "which is not https" "a token server without TLS" \
	"$registry/token/img:1.0" --ca "$tmp/tls.pem"
is "$(jq -r 'select(.server == "other" or (.path | startswith("/token"))) | .path' \
	"$tmp/bad-tls.log")" "" "neither is asked"

# ---- a full disk -------------------------------------------------------------

# shellcheck disable=SC2016 # expanded inside
full() {
	unshare -m sh -c 'mkdir -p "$1" && mount -t tmpfs -o size=1m none "$1" &&
		export ISO_ROOT=$1/root && shift && "$@"
		status=$?
		ls "$ISO_ROOT"/images/.tmp.* 2>/dev/null
		mount -o remount,size=64m "${ISO_ROOT%/root}"
		"$@" 2>/dev/null | wc -l
		exit $status' full "$tmp/mnt" iso-pull -q "oci:$img:1.0"
}
try full
is "$status $(cat "$out") $(grep -c 'No space left' "$err")" "1 1 1" \
	"a disk is full: one line, and later it works"
like "$(cat "$err")" "try: room in" "the remedy is named"

# ---- without a network -------------------------------------------------------

new_root local
pulls "an OCI layout" "oci:$img:1.0"
is "$(cat "$out")" "oci:$img@$(cat "$tmp/digest")" "it prints where from"
pulls "what was printed" "$(cat "$out")"
(cd "$tmp" && iso-pull -q oci:img:1.0) >"$out" 2>"$err"
is "$(cat "$out")" "oci:$img@$(cat "$tmp/digest")" "relative is made absolute"
pulls "from an index in a layout" "oci:$img:index"
is "$(cat "$out")" "oci:$img@$manifest" "the image for this platform"
refuses 1 "several images" "which one" iso-pull "oci:$img"
refuses 1 "no image called none" "no such tag" iso-pull "oci:$img:none"
skopeo inspect "oci:$(images):localhost/img:1.0" >/dev/null 2>"$err"
ok $? "skopeo finds it"
new_root local2
cp -r "$bad" "$tmp/spoilt"
f=$(find "$tmp/spoilt/blobs/sha256" -size +1M | head -1)
printf X | dd of="$f" conv=notrunc status=none
refuses 1 "wrong digest" "a layout with a spoilt layer" iso-pull -q "oci:$tmp/spoilt:1.0"
truncate -s 1M "$f"
refuses 1 "wrong size" "and a short one" iso-pull -q "oci:$tmp/spoilt:1.0"
whole
ok $? "nothing of it is kept"

new_root archive
make_image archive "$tmp/new.tar" --layer 100K:none --layer 50K:gzip --layer 50K:none
make_image archive "$tmp/old.tar" --old --layer 100K:none --layer 50K:none
pulls "a docker archive" "docker-archive:$tmp/new.tar"
umoci unpack --image "$(images):localhost/new-tar:local" "$tmp/bundle2" \
	>/dev/null 2>"$err"
ok $? "umoci unpacks it"
pulls "an old docker archive" "docker-archive:$tmp/old.tar"
pulls "again" "$(cat "$out")"
gzip -k "$tmp/old.tar"
first=$(sed 's/.*@//' "$out")
pulls "the same, packed" "docker-archive:$tmp/old.tar.gz"
is "$(sed 's/.*@//' "$out")" "$first" "is the same image"
skopeo copy -q --insecure-policy "oci:$img:1.0" "docker-archive:$tmp/sk.tar:a/b:1" 2>"$err"
pulls "skopeo's docker archive" "docker-archive:$tmp/sk.tar"
new_root archive2
make_image archive "$tmp/two.tar" --images 2 --layer 10K:none
make_image archive "$tmp/missing.tar" --layer 10K:none --break missing
make_image archive "$tmp/bytes.tar" --layer 10K:none --break bytes
refuses 1 "holds 2 images" "two images" iso-pull "docker-archive:$tmp/two.tar"
refuses 1 "is not in it" "a layer is missing" iso-pull "docker-archive:$tmp/missing.tar"
refuses 1 "wrong digest" "a layer is wrong" iso-pull "docker-archive:$tmp/bytes.tar"
tar -C "$tmp" -cf "$tmp/other.tar" digest
refuses 1 "not what docker save writes" "not an archive of images" \
	iso-pull "docker-archive:$tmp/other.tar"
refuses 1 "cannot read" "no archive" iso-pull "docker-archive:$tmp/tls.pem"
whole
ok $? "nothing of it is kept"

# ---- garbage -----------------------------------------------------------------

new_root prune
iso-pull -q "oci:$img:1.0" >/dev/null
iso-pull -q "oci:$img:zstd" >/dev/null
iso-pull -q "oci:$img:index" >/dev/null
count=$(find "$(images)/blobs" -type f | wc -l)
try iso-pull --prune
is "$status $(find "$(images)/blobs" -type f | wc -l)" "0 $count" \
	"nothing is pruned that has a name"
mkdir -p "$ISO_ROOT/rootfs"
kept=$(sed 's/.*://' "$tmp/digest")
gone=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"]
	== "localhost/img:zstd") | .digest' "$(images)/index.json" | cut -d: -f2)
used=$(printf '%064d' 7)
for d in "$kept" "$gone" "$used"; do
	echo x >"$ISO_ROOT/rootfs/$d.erofs"
	echo '{}' >"$ISO_ROOT/rootfs/$d.json"
done
jq 'del(.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] ==
	"localhost/img:zstd"))' "$(images)/index.json" >"$tmp/index.json"
cp "$tmp/index.json" "$(images)/index.json"
echo x >"$(images)/.partial/$used"
exec 8<"$ISO_ROOT/rootfs/$used.erofs"
flock -s 8
try iso-pull --prune
is "$status" 0 "prune"
exec 8<&-
is "$(find "$(images)/blobs" -type f | wc -l)" $((count - 4)) \
	"the blobs of one image are gone"
is "$(find "$ISO_ROOT/rootfs" -type f -printf '%f\n' | sort | xargs)" \
	"$(printf '%s\n' "$kept.erofs" "$kept.json" "$used.erofs" "$used.json" |
		sort | xargs)" "so is its root file system; one in use is kept"
like "$(cat "$err")" "1 in use were kept" "it says so"
whole
ok $? "nothing is left on its way"
pulls "the rest is whole" "oci:$img:1.0"
rm "$(images)/blobs/sha256/$kept"
refuses 2 "--prune wants no REF" "--prune with a REF" iso-pull --prune debian:12

done_testing
