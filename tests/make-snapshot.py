#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A made-up snapshot as `iso-snap --export` writes one, to standard output.

    make-snapshot.py ID [KEY=JSON...]

KEY=JSON replaces a member of the manifest; config.KEY=JSON, one of its config.
It is made from what the manual and the headers say, and not by the programs, so
that the two can be held against each other.
"""
import hashlib
import json
import os
import random
import sys

PAGE = 4096
ident = sys.argv[1]
rnd = random.Random(ident)


def noise(size, pages):
    """A file as {offset: page}."""
    data = {}
    for i in range(pages):
        at = size // PAGE * i // pages * PAGE
        data[at] = rnd.randbytes(min(PAGE, size - at))
    return size, data


def digest(size, data):
    h = hashlib.sha256()
    for at in sorted(data):
        if any(data[at]):
            h.update(at.to_bytes(8, "little") + data[at])
    return h.hexdigest()


def pad(raw):
    return raw + bytes(-len(raw) % 512)


def header(name, kind, size):
    h = name.encode().ljust(100, b"\0") + b"0000400\0" + b"0000000\0" * 2
    h += b"%011o\0" % (0 if size > 0o77777777777 else size) + b"00000000000\0"
    tail = kind + bytes(100) + b"ustar\00000" + bytes(247)
    total = sum(h) + 8 * 32 + sum(tail)
    return h + b"%06o\0 " % total + tail


def pax(fields):
    out = b""
    for key, value in fields:
        rest = len(f" {key}={value}\n")
        n = rest
        while n != rest + len(str(n)):
            n = rest + len(str(n))
        out += f"{n} {key}={value}\n".encode()
    return out


def sparse(name, size, data):
    # Pages nearer than 64 KiB are one extent.
    extents = []
    for at in sorted(data):
        if extents and at - sum(extents[-1]) < 65536:
            extents[-1] = (extents[-1][0], at + len(data[at]) - extents[-1][0])
        else:
            extents.append((at, len(data[at])))
    body = b""
    for at, n in extents:
        for page in range(at, at + n, PAGE):
            body += data.get(page, bytes(min(PAGE, at + n - page)))
    if not extents or sum(extents[-1]) < size:
        extents.append((size, 0))
    numbers = [len(extents)] + [n for x in extents for n in x]
    body = pad("".join(f"{n}\n" for n in numbers).encode()) + body
    extra = pax([("GNU.sparse.major", 1), ("GNU.sparse.minor", 0),
                 ("GNU.sparse.name", f"{ident}/{name}"),
                 ("GNU.sparse.realsize", size), ("size", len(body))])
    return (header(f"{ident}/PaxHeaders/{name}", b"x", len(extra)) + pad(extra)
            + header(f"{ident}/GNUSparseFile.0/{name}", b"0", len(body))
            + pad(body))


files = {"state": noise(5000, 2), "memory": noise(1 << 20, 24),
         "scratch": noise(8 << 20, 5)}
manifest = {
    "format": 1, "id": ident, "parent": "", "created": 1700000000,
    "arch": "x86_64", "cpu": "Zuse Z3", "state_format": 1, "mac": "0" * 64,
    "config": {
        "format": 1, "id": "run0123456789abcdef", "name": "web",
        "image": "debian:12.1", "digest": "sha256:" + "ab" * 32,
        "rootfs": f"/elsewhere/rootfs/{'ab' * 32}.erofs", "kernel": "6.1.0",
        "vcpus": 2, "memory": 1 << 20, "disk": 8 << 20},
    "files": {name: {"size": f[0], "sha256": digest(*f)}
              for name, f in files.items()},
}
for arg in sys.argv[2:]:
    key, value = arg.split("=", 1)
    where = manifest
    if key.startswith("config."):
        where, key = manifest["config"], key[7:]
    where[key] = json.loads(value)
text = json.dumps(manifest, sort_keys=True, separators=(",", ":"),
                  ensure_ascii=False).encode() + b"\n"
line = f"{hashlib.sha256(text).hexdigest()}  manifest.json\n".encode()
out = (header(f"{ident}/manifest.json", b"0", len(text)) + pad(text)
       + header(f"{ident}/manifest.sha256", b"0", len(line)) + pad(line)
       + b"".join(sparse(name, *f) for name, f in files.items()) + bytes(1024))
try:
    sys.stdout.buffer.write(out)
    sys.stdout.flush()
except BrokenPipeError:  # whoever reads has seen enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
