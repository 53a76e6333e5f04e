#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# token-server.py DIR LOG: gives out the tokens that docker-registry asks for
# (auth: token:), on loopback over TLS.  It says "listening on ADDRESS:PORT".
# DIR has pairs NAME.pem and NAME.key: tls is what it speaks, sign what it signs
# with, and other a pair that the registry knows nothing of.  LOG gets a JSON
# object a request.
#
# Nobody's token lets pull what lies below public/.  Who knows the password gets
# what the name of the user says:
#
#	user		all that is asked for
#	scope		the same for another repository
#	expired		one that ran out an hour ago
#	early		one that is good in an hour
#	issuer		one by another issuer
#	audience	one for another registry
#	other		one that is signed by a key nobody trusts, which it brings
#	forged		one that is signed by that key and brings the right one
#	unsigned	one without a signature
#
# The identity token "identity" is as good as the user's password.
import base64
import http.server
import json
import ssl
import subprocess
import sys
import time
import urllib.parse

DIR, LOG = sys.argv[1], open(sys.argv[2], "a", buffering=1)
PASSWORD = "secret word"
USERS = ("user", "scope", "expired", "early", "issuer", "audience", "other",
         "forged", "unsigned")
HOUR = 3600


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def part(value):
    return base64url(json.dumps(value).encode())


def certificate(name):
    with open("%s/%s.pem" % (DIR, name)) as f:
        return base64.b64encode(ssl.PEM_cert_to_DER_cert(f.read())).decode()


def signature(data, name):
    return subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", "%s/%s.key" % (DIR, name)],
        input=data, stdout=subprocess.PIPE, check=True).stdout


def access_of(scope, user):
    """What @user may do of what is asked for: "repository:NAME:ACTION,..." """
    kind, name, actions = scope.split(":")
    actions = actions.split(",")
    if user is None:
        actions = ["pull"] if name.startswith("public/") else []
    if user == "scope":
        name = "another/" + name
    return {"type": kind, "name": name, "actions": actions}


def token(user, service, scopes):
    now = int(time.time())
    shift = {"expired": -2 * HOUR, "early": HOUR}.get(user, 0)
    data = part({
        "typ": "JWT", "alg": "RS256",
        "x5c": [certificate("other" if user == "other" else "sign")],
    }) + b"." + part({
        "iss": "another" if user == "issuer" else "token-server",
        "aud": "another" if user == "audience" else service,
        "sub": user or "", "jti": str(time.monotonic_ns()),
        "iat": now + shift, "nbf": now + shift, "exp": now + shift + HOUR,
        "access": [access_of(s, user) for s in scopes],
    })
    key = "other" if user in ("other", "forged") else "sign"
    sign = b"" if user == "unsigned" else signature(data, key)
    return (data + b"." + base64url(sign)).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, value, user, query):
        # First, so that whoever has the answer finds it there.
        LOG.write(json.dumps({
            "method": self.command, "status": status, "user": user,
            "service": query.get("service", [None])[0],
            "scope": query.get("scope", [])}) + "\n")
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give(self, user, query):
        text = token(user, query["service"][0],
                     [s for q in query.get("scope", []) for s in q.split()])
        self.answer(200, {"token": text, "access_token": text,
                          "expires_in": HOUR}, user, query)

    def refuse(self, user, query):
        self.answer(401, {"errors": [{"code": "UNAUTHORIZED",
                                      "message": "no such user or password"}]},
                    user, query)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        given = self.headers.get("Authorization")
        if given is None:
            return self.give(None, query)
        user, _, password = base64.b64decode(
            given.removeprefix("Basic ")).decode().partition(":")
        if user not in USERS or password != PASSWORD:
            return self.refuse(user, query)
        self.give(user, query)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(
            int(self.headers["Content-Length"])).decode())
        if form.get("grant_type") != ["refresh_token"] or \
                form.get("refresh_token") != ["identity"]:
            return self.refuse("", form)
        self.give("user", form)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(DIR + "/tls.pem", DIR + "/tls.key")
server = Server(("127.0.0.1", 0), Handler)
server.socket = tls.wrap_socket(server.socket, server_side=True)
print("listening on 127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
