#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# bad-registry.py LAYOUT LOG [CERT KEY]: serves the image layout LAYOUT as a registry that
# misbehaves, on loopback.  How is the first component of the repository:
# REGISTRY/cut/img:TAG is cut in mid-blob.  It says "listening on ADDRESS:PORT".
# A second server is where it redirects to.  LOG gets a JSON object a request.
# With a certificate and a key, the first one speaks TLS.
import base64
import http.server
import json
import re
import socket
import sys
import threading
import time
import urllib.parse

LAYOUT, LOG = sys.argv[1], open(sys.argv[2], "a", buffering=1)
LOCK = threading.Lock()
SEEN = {}  # how often something was asked for
TOKEN = "good-token"
USER = "Basic " + base64.b64encode(b"user:secret word").decode()
CUTS = 10


def count(*key):
    with LOCK:
        SEEN[key] = SEEN.get(key, 0) + 1
        return SEEN[key]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.put(body)

    def put(self, data):
        self.sent += len(data)
        self.wfile.write(data)

    def cut(self):
        """The connection ends in the middle of things."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self):
        self.form = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self):
        self.sent = 0
        try:
            self.route()
        except (BrokenPipeError, ConnectionResetError, OSError):
            self.close_connection = True
        LOG.write(json.dumps({
            "server": self.server.name, "path": self.path, "sent": self.sent,
            "auth": self.headers.get("Authorization"),
            "range": self.headers.get("Range")}) + "\n")

    def route(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith("/token/"):
            return self.token(url.path.split("/")[2])
        m = re.match(r"/v2/([^/]+)/.*/(manifests|blobs)/(.*)", url.path)
        if not m:
            return self.answer(404)
        self.mode, kind, what = m.groups()
        if self.server.name == "other":
            return self.blob(what)
        if self.mode.startswith("token") and not self.allowed():
            return
        if kind == "manifests":
            self.manifest(what)
        else:
            self.bad_blob(what)

    # ---- tokens ----

    def challenge(self, realm):
        self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED",'
                    b'"message":"authentication required"}]}',
                    WWW_Authenticate='Bearer realm="%s",service="test",'
                    'scope="repository:x:push,pull"' % realm)

    def allowed(self):
        here = "http://127.0.0.1:%d" % self.server.server_port
        realm = here + "/token/" + self.mode
        good = "Bearer " + TOKEN
        if self.mode == "token-expire":
            # Each token is good for two requests.
            n = count("expire-uses", self.headers.get("Authorization"))
            if self.headers.get("Authorization", "").startswith(good) and \
                    n <= 2:
                return True
        elif self.mode == "token-realm":
            realm = "ftp://127.0.0.1/token"
        elif self.mode == "token-none":
            self.answer(401)
            return False
        elif self.headers.get("Authorization") == good:
            return True
        self.challenge(realm)
        return False

    def token(self, mode):
        token = TOKEN
        if mode == "token-user" and self.headers.get("Authorization") != USER:
            return self.answer(401, b'{"errors":[{"message":"who\\u001b are '
                               b'you"}]}')
        if mode == "token-identity" and \
                b"refresh_token=identity" not in getattr(self, "form", b""):
            return self.answer(401)
        if mode == "token-html":
            return self.answer(200, b"<html>log in</html>",
                               Content_Type="text/html")
        if mode == "token-empty":
            return self.answer(200, b"{}")
        if mode == "token-inject":
            token = "x\r\nX-Injected: yes"
        if mode == "token-wrong":
            token = "wrong"
        if mode == "token-expire":
            token = TOKEN + str(count("expire"))
        if mode == "token-busy" and count("token-busy") < 3:
            return self.answer(503)
        if mode == "token-endless":
            return self.endless()
        self.answer(200, json.dumps({"token": token}).encode())

    # ---- manifests ----

    def manifest(self, what):
        with open(LAYOUT + "/index.json") as f:
            entries = json.load(f)["manifests"]
        for m in entries:
            name = m["annotations"]["org.opencontainers.image.ref.name"]
            if what == name:
                what = m["digest"]
        try:
            with open(LAYOUT + "/blobs/sha256/" + what[7:], "rb") as f:
                data = f.read()
        except OSError:
            return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN",'
                               b'"message":"manifest unknown"}]}')
        getattr(self, "manifest_" + self.mode.replace("-", "_"),
                self.good_manifest)(data, what)

    def good_manifest(self, data, what):
        media = json.loads(data)["mediaType"]
        self.answer(200, data, Content_Type=media,
                    Docker_Content_Digest=what)

    def manifest_html(self, data, what):
        self.answer(200, b"<html>please log in</html>",
                    Content_Type="text/html; charset=utf-8")

    def manifest_text(self, data, what):
        self.answer(200, b"this is no JSON")

    def manifest_lie(self, data, what):
        self.answer(200, data + b" ", Docker_Content_Digest=what)

    def manifest_nested(self, data, what):
        self.answer(200, b'{"a":' * 100000)

    def manifest_many(self, data, what):
        self.answer(200, b'{"a":[' + b"[]," * 1000000 + b"[]]}")

    def manifest_large(self, data, what):
        self.endless()

    def manifest_schema1(self, data, what):
        self.answer(200, b'{"schemaVersion":1,"name":"x","fsLayers":[]}')

    def manifest_both(self, data, what):
        self.answer(200, b'{"schemaVersion":2,"manifests":[],"layers":[]}')

    def manifest_busy(self, data, what):
        if count("busy") == 1:
            self.answer(429, Retry_After="1")
        else:
            self.good_manifest(data, what)

    def manifest_busy_date(self, data, what):
        if count("busy-date") == 1:
            self.answer(429, Retry_After=self.date_time_string(
                int(time.time()) + 1))
        else:
            self.good_manifest(data, what)

    def manifest_busy_long(self, data, what):
        self.answer(429, Retry_After="3600")

    def manifest_e500_twice(self, data, what):
        if count("e500") < 3:
            self.answer(500)
        else:
            self.good_manifest(data, what)

    def manifest_e500(self, data, what):
        self.answer(500, b"x" * 100000)

    def manifest_e403(self, data, what):
        count("e403")
        self.answer(403)

    def manifest_reset(self, data, what):
        if count("reset") < 3:
            self.cut()
        else:
            self.good_manifest(data, what)

    def manifest_silent(self, data, what):
        if count("silent") < 2:
            self.rfile.read(1)  # until the client gives up
        else:
            self.good_manifest(data, what)

    # ---- blobs ----

    def bad_blob(self, what):
        getattr(self, "blob_" + self.mode.replace("-", "_"),
                self.blob)(what)

    def bytes_of(self, what):
        with open(LAYOUT + "/blobs/sha256/" + what[7:], "rb") as f:
            return f.read()

    def blob(self, what, ranges=True, upto=None, change=None, length=None):
        data = self.bytes_of(what)
        total = len(data)
        m = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        first, last = 0, total - 1
        if m and ranges:
            first = int(m[1])
            last = min(int(m[2] or last), last)
            self.send_response(206)
            self.send_header("Content-Range",
                             "bytes %d-%d/%d" % (first, last, total))
        else:
            self.send_response(200)
        data = data[first:last + 1]
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        if change:
            data = change(data)
        if upto is not None and upto < len(data):
            self.put(data[:upto])
            self.cut()
        else:
            self.put(data)

    def blob_cut(self, what):
        size = len(self.bytes_of(what))
        if size < 100000 or count("cut", what) > CUTS:
            self.blob(what)
        else:
            self.blob(what, upto=size // (CUTS + 2))

    def blob_cut_noranges(self, what):
        size = len(self.bytes_of(what))
        n = count("cut-noranges", what)
        self.blob(what, ranges=False, upto=size // 2 if n < 3 else None)

    def blob_cut_always(self, what):
        self.blob(what, upto=1000)

    def blob_noranges(self, what):
        self.blob(what, ranges=False)

    def blob_stall(self, what):
        size = len(self.bytes_of(what))
        if size < 100000 or count("stall", what) > 1:
            return self.blob(what)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.put(self.bytes_of(what)[:size // 2])
        self.rfile.read(1)

    def blob_digest(self, what):
        self.blob(what, change=lambda d: b"X" + d[1:])

    def blob_long(self, what):
        self.blob(what, change=lambda d: d + b"X",
                  length=len(self.bytes_of(what)) + 1)

    def blob_short(self, what):
        self.blob(what, change=lambda d: d[:-1],
                  length=len(self.bytes_of(what)) - 1)

    def blob_wrong_range(self, what):
        if self.headers.get("Range"):
            self.answer(206, b"x" * 10, Content_Range="bytes 5-14/999999999")
        else:
            self.blob(what)

    def blob_shifted(self, what):
        total = len(self.bytes_of(what))
        if self.headers.get("Range"):
            self.answer(206, b"x" * 10,
                        Content_Range="bytes 5-14/%d" % total)
        else:
            self.blob(what)

    def endless(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.put(b"10000\r\n" + b" " * 65536 + b"\r\n")

    def blob_endless(self, what):
        self.endless()

    def blob_gone(self, what):
        count("gone")
        self.answer(404)

    def blob_e503(self, what):
        self.answer(503)

    def to(self, address):
        self.answer(307, Location=address)

    def blob_loop(self, what):
        self.to(self.path)

    def blob_elsewhere(self, what):
        self.to("http://127.0.0.1:%d%s" % (OTHER.server_port, self.path))

    def blob_token_elsewhere(self, what):
        self.blob_elsewhere(what)

    def blob_expiring(self, what):
        self.blob_elsewhere(what)

    def blob_file(self, what):
        self.to("file:///etc/passwd")

    def blob_relative(self, what):
        self.to(self.path.replace("/relative/", "/plain/"))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        if len(sys.argv) > 3 and name == "registry":
            import ssl
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(sys.argv[3], sys.argv[4])
            self.socket = ctx.wrap_socket(self.socket, server_side=True)


OTHER = Server("other")
threading.Thread(target=OTHER.serve_forever, daemon=True).start()
REGISTRY = Server("registry")
print("listening on 127.0.0.1:%d" % REGISTRY.server_port, flush=True)
REGISTRY.serve_forever()
