#!/bin/bash
# SPDX-License-Identifier: MIT
#
# iso-pull over TLS, with passwords and with tokens: TAP on standard output; run
# by prove from the top of the repository.  The registry is Debian's
# docker-registry; with its basic auth, and with its token auth, for which
# token-server.py gives out the tokens.
#
#	ISO_BIN		the programs (build/bin)
set -u

. tests/shell/lib.sh
. tests/registry.sh
. tests/pull.sh

make_image layout "$img" 1.0 --layer 300K --layer 200K:none --layer 100K:gzip:text \
	--layer 3M:gzip:random >"$tmp/digest"
make_image layout "$img" big --layer 40M:none:random --layer 1M >/dev/null
tls_certificate "$tmp/tls"
ca=(--ca "$tmp/tls.pem")
tls="  tls: {certificate: $tmp/tls.pem, key: $tmp/tls.key}"

# ---- TLS and HTTP/2 ----------------------------------------------------------

# spoken NAME TEXT: the protocols in which the registry NAME was asked by us for
# what has TEXT in its path, from its access log.
spoken() {
	sed -n "s|.*\"GET [^ ]*$2[^ ]* \(HTTP/[0-9.]*\)\" .*\"isokit/.*|\1|p" \
		"$tmp/server.$1" | sort -u | xargs
}

# connections NAME: how many we made to it.
connections() {
	sed -n 's|.*http.request.remoteaddr="\([^"]*\)".*useragent="*isokit/.*|\1|p' \
		"$tmp/server.$1" | sort -u | wc -l
}

registry_start tls "$tls"
for t in 1.0 big; do
	push --preserve-digests "oci:$img:$t" "docker://$registry/a/img:$t"
done
new_root tls
fails "certificate" "a certificate nobody knows" "$registry/a/img:1.0"
is "$(spoken tls /v2/)" "" "asks for nothing"
pulls "TLS" "$registry/a/img:1.0" "${ca[@]}"
pulls "a big layer in ranges" "$registry/a/img:big" "${ca[@]}"
is "$(spoken tls /manifests/)" HTTP/2.0 "the manifests came by HTTP/2"
is "$(spoken tls /blobs/)" HTTP/2.0 "so did the blobs"
is "$(connections tls)" 2 "each image by one connection"
new_root insecure
pulls "no check with --insecure" "$registry/a/img:1.0" --insecure

registry_start tls1 "$tls
  http2: {disabled: true}"
push --preserve-digests "oci:$img:1.0" "docker://$registry/a/img:1.0"
new_root tls1
pulls "a registry without HTTP/2" "$registry/a/img:1.0" "${ca[@]}"
is "$(spoken tls1 /manifests/)" HTTP/1.1 "is spoken to in HTTP/1.1"

# ---- passwords ---------------------------------------------------------------

htpasswd -Bbn user 'secret word' >"$tmp/htpasswd"
registry_start basic "$tls
auth:
  htpasswd: {realm: test, path: $tmp/htpasswd}"
push --preserve-digests --dest-creds 'user:secret word' \
	"oci:$img:1.0" "docker://$registry/a/img:1.0"
fails "401 unauthorized" "no password" "$registry/a/img:1.0" "${ca[@]}"
auth "$registry" user:wrong >"$DOCKER_CONFIG/config.json"
fails "401 unauthorized" "a wrong password" "$registry/a/img:1.0" "${ca[@]}"
! grep -q 'wrong' "$err"
ok $? "which is not in the message"
auth "$registry" 'user:secret word' >"$DOCKER_CONFIG/config.json"
new_root basic
pulls "a password" "$registry/a/img:1.0" "${ca[@]}"
new_root basic2
mkdir -p "$HOME/.docker"
mv "$DOCKER_CONFIG/config.json" "$HOME/.docker/config.json"
DOCKER_CONFIG='' pulls "config.json in the home directory" \
	"$registry/a/img:1.0" "${ca[@]}"
new_root basic3
mv "$HOME/.docker/config.json" "$tmp/auth.json"
REGISTRY_AUTH_FILE=$tmp/auth.json pulls "\$REGISTRY_AUTH_FILE" \
	"$registry/a/img:1.0" "${ca[@]}"
mkdir -p "$tmp/helpers"
cat >"$tmp/helpers/docker-credential-test" <<-'END'
	#!/bin/sh
	[ "$1" = get ] || exit 1
	read -r host || [ -n "$host" ]
	case $host in
	127.0.0.1:*) echo '{"Username":"user","Secret":"secret word"}' ;;
	broken:*) echo nonsense ;;
	*) echo "credentials not found in native keychain"; exit 1 ;;
	esac
END
chmod +x "$tmp/helpers/docker-credential-test"
PATH=$tmp/helpers:$PATH
new_root basic4
echo "{\"credHelpers\":{\"$registry\":\"test\"}}" >"$DOCKER_CONFIG/config.json"
pulls "a credential helper" "$registry/a/img:1.0" "${ca[@]}"
new_root basic5
echo '{"credsStore":"none-such"}' >"$DOCKER_CONFIG/config.json"
fails "docker-credential-none-such" "a helper that is not there" \
	"$registry/a/img:1.0" "${ca[@]}"
echo '{"credsStore":' >"$DOCKER_CONFIG/config.json"
fails "config.json is not JSON" "a config that is broken" \
	"$registry/a/img:1.0" "${ca[@]}"
rm "$DOCKER_CONFIG/config.json"

# ---- tokens ------------------------------------------------------------------

for name in sign other; do
	certificate "$tmp/$name" rsa:2048
done
server_start token python3 tests/token-server.py "$tmp" "$tmp/token.log"
realm=https://127.0.0.1:$port/token
registry_start bearer "$tls
auth:
  token:
    realm: $realm
    service: registry.test
    issuer: token-server
    rootcertbundle: $tmp/sign.pem"
for t in private/img:1.0 private/img:big public/img:1.0; do
	push --preserve-digests --dest-creds 'user:secret word' \
		"oci:$img:${t#*:}" "docker://$registry/$t"
done

# That it is the registry who demands a token, and looks at it.
answer() { # answer TOKEN: to a request for the manifest
	curl -sS --cacert "$tmp/tls.pem" -o "$tmp/answer" -D "$tmp/headers" \
		-H 'Accept: application/vnd.oci.image.manifest.v1+json' \
		-w '%{http_code}' ${1:+-H "Authorization: Bearer $1"} \
		"https://$registry/v2/private/img/manifests/1.0" 2>"$err"
}
token() { # token USER [SCOPE]
	curl -sS --cacert "$tmp/tls.pem" -u "$1:secret word" -G \
		-d service=registry.test \
		-d "scope=${2:-repository:private/img:pull}" "$realm" \
		2>"$err" | jq -r .token
}
is "$(answer '')" 401 "the registry demands a token"
like "$(tr -d '\r' <"$tmp/headers")" "Bearer realm=\"$realm\",service=\"registry.test\"" \
	"and says where there are some"
right=$(token user)
is "$(answer "$right")" 200 "it takes the right one"
is "$(answer "${right%????????}AAAAAAAA")" 401 "not with another signature"
forged=$(token forged)
is "$(answer "$forged")" 401 "nor one signed by another key"
is "${forged%%.*}" "${right%%.*}" "whose header is that of the right one"

# asked: the requests for tokens since `since`, each with its user, status, service
# and scope; and how those of ours for the manifest were answered.
asked() {
	local path="/v2/private/img/manifests/1.0"
	tail -n "+$((seen_token + 1))" "$tmp/token.log" |
		jq -r '"\(.method) \(.user) \(.status) \(.service) \(.scope[])"'
	tail -n "+$((seen_registry + 1))" "$tmp/server.bearer" |
		sed -n "s|.*\"GET $path HTTP/[0-9.]*\" \([0-9]*\) .*\"isokit/.*|\1|p"
}
since() {
	seen_token=$(wc -l <"$tmp/token.log")
	seen_registry=$(wc -l <"$tmp/server.bearer")
}
scope='registry.test repository:private/img:pull'

since
fails "401 unauthorized: authentication required" "a token for nobody" \
	"$registry/private/img:1.0" "${ca[@]}"
like "$(cat "$err")" "try: \`skopeo login $registry\`" "the remedy is named"
is "$(asked | xargs)" "GET null 200 $scope 401 401" \
	"one token is asked for, and tried once"
new_root public
pulls "is good for what is public" "$registry/public/img:1.0" "${ca[@]}"

auth "$registry" user:wrong >"$DOCKER_CONFIG/config.json"
since
fails "the token server refused: 401 unauthorized: no such user or password" \
	"a wrong password" "$registry/private/img:1.0" "${ca[@]}"
is "$(asked | xargs)" "GET user 401 $scope 401" "is tried once"

auth "$registry" 'user:secret word' >"$DOCKER_CONFIG/config.json"
new_root bearer
since
pulls "a token for a user" "$registry/private/img:1.0" "${ca[@]}"
is "$(asked | xargs)" "GET user 200 $scope 401 200" "is asked for once"
is "$(cat "$out")" "$registry/private/img@$(cat "$tmp/digest")" \
	"it prints name@digest"
is "$(spoken bearer /blobs/)" HTTP/2.0 "the blobs came by HTTP/2"
new_root bearer-big
since
pulls "big, in ranges" "$registry/private/img:big" "${ca[@]}"
is "$(asked | xargs)" "GET user 200 $scope" "all by one token"

echo "{\"auths\":{\"$registry\":{\"identitytoken\":\"identity\"}}}" \
	>"$DOCKER_CONFIG/config.json"
new_root identity
since
pulls "an identity token" "$registry/private/img:1.0" "${ca[@]}"
is "$(asked | xargs)" "POST user 200 $scope 401 200" "is exchanged for another"

# Each of them is taken by the client and refused by the registry, which says
# why in its log.
bad_token() { # bad_token USER TEXT NAME
	auth "$registry" "$1:secret word" >"$DOCKER_CONFIG/config.json"
	since
	fails "401 unauthorized: authentication required" "$3" \
		"$registry/private/img:1.0" "${ca[@]}"
	is "$(asked | xargs)" "GET $1 200 $scope 401 401" "is tried once"
	tail -n "+$((seen_registry + 1))" "$tmp/server.bearer" | grep -qF -- "$2"
	ok $? "the registry says why"
}
bad_token scope "insufficient scope" "a token for another repository"
bad_token expired "token not to be used after" "a token that ran out"
bad_token early "token not to be used before" "a token that is not good yet"
bad_token issuer "token from untrusted issuer" "a token by another issuer"
bad_token audience "token intended for another audience" \
	"a token for another registry"
bad_token other "unable to verify certificate chain" \
	"a token signed by a key nobody trusts"
bad_token forged "unable to verify token signature" \
	"a token with another's signature"
bad_token unsigned "token has no signature" "a token without a signature"
! grep -rq 'secret word' "$err" "$tmp/token.log" "$tmp/server.bearer"
ok $? "no password in a log"

done_testing
