# SPDX-License-Identifier: MIT
"""Tar archives, byte by byte: what tarfile would refuse to write, too.

An Entry is written by bytes(), and says by expected() what a tree that has it
looks like, in the words of tests/tree-diff.
"""
import hashlib

BLOCK = 512
TYPES = {"file": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3",
         "block": b"4", "dir": b"5", "fifo": b"6", "contiguous": b"7"}
END = bytes(2 * BLOCK)


def raw(s):
    return s if isinstance(s, bytes) else s.encode()


def pad(data):
    return data + bytes(-len(data) % BLOCK)


def number(n, width):
    """Octal where it fits, base 256 (GNU) otherwise."""
    if 0 <= n < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, n)
    out = bytearray((n % 256 ** width).to_bytes(width, "big"))
    out[0] |= 0x80
    return bytes(out)


def header(name, type=b"0", size=0, mode=0o644, uid=0, gid=0, mtime=0,
           link=b"", dev=(0, 0), magic=b"ustar\x0000", rest=b""):
    h = bytearray(BLOCK)
    h[0:100] = name[:100].ljust(100, b"\0")
    h[100:108] = number(mode, 8)
    h[108:116] = number(uid, 8)
    h[116:124] = number(gid, 8)
    h[124:136] = number(size, 12)
    h[136:148] = number(mtime, 12)
    h[148:156] = b" " * 8
    h[156:157] = type
    h[157:257] = link[:100].ljust(100, b"\0")
    h[257:265] = magic
    h[329:337] = number(dev[0], 8)
    h[337:345] = number(dev[1], 8)
    h[345:345 + len(rest)] = rest
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def record(key, value):
    body = b" " + raw(key) + b"=" + raw(value) + b"\n"
    n = len(body)
    while len(b"%d" % n) + len(body) != n:
        n = len(b"%d" % n) + len(body)
    return b"%d" % n + body


def pax(records, type=b"x"):
    body = b"".join(record(k, v) for k, v in records)
    return header(b"PaxHeaders/x", type, len(body)) + pad(body)


class Entry:
    """form: how a long name is written, "pax", "gnu"; None: as it has to be."""

    def __init__(self, name, kind="file", data=b"", mode=None, uid=0, gid=0,
                 mtime=1000000000, nsec=0, link="", dev=(0, 0), xattrs=None,
                 form=None, records=(), at=None):
        self.name, self.kind, self.data = raw(name), kind, raw(data)
        if mode is None:
            mode = {"dir": 0o755, "symlink": 0o777}.get(kind, 0o644)
        self.mode, self.uid, self.gid = mode, uid, gid
        self.mtime, self.nsec = mtime, nsec
        self.link, self.dev = raw(link), dev
        self.xattrs = xattrs or {}
        self.form, self.records = form, list(records)
        self.at = raw(at) if at is not None else None

    def __bytes__(self):
        out, records = b"", list(self.records)
        if self.form == "gnu":
            for type, text in ((b"K", self.link), (b"L", self.name)):
                out += header(b"././@LongLink", type, len(text) + 1,
                              magic=b"ustar  \0") + pad(text + b"\0")
        if self.form == "pax" or not self.form and len(self.name) > 100:
            records.append(("path", self.name))
        if self.form == "pax" or not self.form and len(self.link) > 100:
            if self.link:
                records.append(("linkpath", self.link))
        if self.nsec or self.mtime < 0:
            records.append(("mtime", "%d.%09d" % (self.mtime, self.nsec)
                            if self.nsec else "%d" % self.mtime))
        records += [("SCHILY.xattr." + k, v) for k, v in self.xattrs.items()]
        if records:
            out += pax(records)
        body = self.data if self.kind in ("file", "contiguous") else b""
        return out + header(
            self.name, TYPES[self.kind], len(body), self.mode, self.uid,
            self.gid, max(self.mtime, 0), self.link, self.dev) + pad(body)

    def path(self):
        name = self.at if self.at is not None else self.name
        name = b"/".join(c for c in name.split(b"/") if c not in (b"", b"."))
        return b"./" + name if name else b"."

    def expected(self):
        kind = {"contiguous": "file"}.get(self.kind, self.kind)
        e = {"type": kind, "mode": "%04o" % self.mode, "uid": self.uid,
             "gid": self.gid, "mtime": "%d.%09d" % (self.mtime, self.nsec)}
        for k, v in self.xattrs.items():
            e["xattr:" + k] = raw(v).hex()
        if kind == "file":
            e["size"] = len(self.data)
            e["sha256"] = hashlib.sha256(self.data).hexdigest()
        if kind == "symlink":
            e["target"] = self.link
        if kind in ("char", "block"):
            e["rdev"] = "%d:%d" % self.dev
        return e


def file(name, data=b"x", **kw):
    return Entry(name, "file", data, **kw)


def dir(name, **kw):
    return Entry(name, "dir", **kw)


def implicit(name):
    """A directory that no layer speaks of."""
    return Entry(name, "dir", mtime=0)


def symlink(name, link, **kw):
    return Entry(name, "symlink", link=link, **kw)


def hardlink(name, link, **kw):
    return Entry(name, "hardlink", link=link, **kw)


def whiteout(name):
    head, _, tail = raw(name).rpartition(b"/")
    return Entry((head + b"/" if head else b"") + b".wh." + tail, data=b"")


def opaque(name):
    return Entry(raw(name) + b"/.wh..wh..opq" if name else ".wh..wh..opq",
                 data=b"")


def tar(entries, end=END):
    return b"".join(bytes(e) for e in entries) + end


class Raw:
    """Bytes as they are."""

    def __init__(self, data):
        self.data = data

    def __bytes__(self):
        return self.data
