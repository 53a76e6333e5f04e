# SPDX-License-Identifier: MIT
"""The conformance corpus: layers, and what has to come of them.

A case has layers (lists of entries, or bytes) and either the tree that they
make or a part of the one error message.  "umoci" says why umoci makes another
tree of it, where it does.
"""
import gzip
import random
import struct

from tar import (BLOCK, END, Entry, Raw, dir, file, hardlink, header, implicit,
                 opaque, pad, pax, symlink, tar, whiteout)

CASES = {}


class Case:
    def __init__(self, name, layers, tree=None, error=None, pack="gzip",
                 links=(), umoci=None, args=(), diff_id=None, size=None,
                 blobs=None):
        self.name, self.layers, self.tree, self.error = \
            name, layers, tree, error
        self.pack, self.links, self.umoci = pack, links, umoci
        self.args, self.diff_id, self.size = list(args), diff_id, size
        self.blobs = blobs
        assert name not in CASES
        CASES[name] = self


ROOT = [dir("./", mtime=0)]
# What umoci does otherwise more than once.
MADE = "a directory that no layer speaks of has the time when it was made"


def case(name, layers, tree=None, **kw):
    if tree is not None and not any(e.path() == b"." for e in tree):
        tree = ROOT + tree
    Case(name, layers, tree, **kw)


def same(name, entries, **kw):
    """One layer that is its own tree."""
    case(name, [entries], entries, **kw)


CAP = bytes.fromhex("0100000200200000000000000000000000000000")

# ---- what an entry has -------------------------------------------------------

same("types", [
    dir("d"), file("d/f", b"hello\n"), symlink("d/s", "f"),
    Entry("d/p", "fifo"), Entry("d/c", "char", dev=(5, 1), mode=0o620),
    Entry("d/b", "block", dev=(4095, 1048575)),
    Entry("d/k", "contiguous", b"as good as a file"),
], umoci="it knows no contiguous files")
same("modes", [
    file("suid", mode=0o4755), file("sgid", mode=0o2755),
    file("all", mode=0o7777), file("none", mode=0), dir("tmp", mode=0o1777),
    dir("grp", mode=0o2775), file("grp/in", mode=0o640),
])
same("owners", [
    file("a", uid=1, gid=2), file("b", uid=65534, gid=65536),
    file("c", uid=2**32 - 2, gid=2**31), symlink("s", "x", uid=7, gid=8),
    file("suid", uid=5, gid=6, mode=0o6755, xattrs={"security.capability": CAP}),
])
case("owner-none", [[file("a", uid=2**32 - 1)]], error="owner 4294967295")
same("xattrs", [
    file("cap", xattrs={"security.capability": CAP}),
    file("many", xattrs={"user.b": b"2", "user.a": b"1", "trusted.z": b"\0\xff",
                         "user.empty": b"", "security.capability": CAP}),
    dir("d", xattrs={"user.on_dir": b"yes"}),
    file("large", xattrs={"user.large": b"v" * 20000}),
], umoci="the host's ext4 has 4 KiB for them")
case("xattrs-dropped", [[
    file("a", xattrs={"security.selinux": b"system_u:object_r:etc_t:s0\0",
                      "trusted.overlay.opaque": b"y", "user.kept": b"1"}),
]], [file("a", xattrs={"user.kept": b"1"})])
case("xattrs-too-large", [[file("a", xattrs={"user.a": b"v" * 61440})]],
     error="extended attributes have more than the 61440 bytes")
case("xattr-unknown", [[file("a", xattrs={"btrfs.x": b"v"})]],
     error="btrfs.x")
same("times", [
    file("nano", nsec=123456789), file("epoch", mtime=0),
    file("before", mtime=-5), file("2446", mtime=15032385535),
    file("far", mtime=2**35),
    symlink("s", "x", mtime=1234567890, nsec=1),
    dir("d", mtime=1111111111, nsec=999999999), file("d/later", mtime=2**31),
], umoci="the host's ext4 ends in 2446")
same("sizes", [
    file("0", b""), file("1", b"1"), file("4095", b"a" * 4095),
    file("4096", b"b" * 4096), file("4097", b"c" * 4097),
    file("big", random.Random(1).randbytes(1 << 20)),
])

# ---- names -------------------------------------------------------------------

same("name-pax", [dir("d" * 99), file("d" * 99 + "/" + "f" * 200)])
same("name-gnu", [
    file("g" * 150, form="gnu"),
    symlink("h" * 120, "t" * 130, form="gnu"),
])
same("name-255", [file("x" * 255), file("é" * 127)])
case("name-256", [[file("x" * 256)]], error="a name has 256 bytes")
same("name-bytes", [file(b"caf\xe9"), file(b"\xff\xfe", form="pax"),
                    file("e\u0301", form="pax"), file("\u00e9", form="pax"),
                    symlink("s", b"\x80", form="pax")])
same("name-newline", [file("a\nb"), dir("\t"), file("\t/\x7f")])
case("name-nul", [[file(b"passwd\0.txt", form="pax")]],
     error="its name has a NUL in it")
case("name-nul-link", [[symlink("s", b"a\0b", form="pax")]],
     error="its name has a NUL in it")
DEEP = "/".join(["p" * 250] * 15)
case("path-long", [[file(DEEP + "/f")]],
     [implicit("/".join(["p" * 250] * (i + 1))) for i in range(15)] +
     [file(DEEP + "/f")], umoci=MADE)
case("path-4096", [[file("/".join(["p" * 240] * 17))]],
     error="its path has more than the 4095 bytes")
case("path-deep", [[file("d/" * 300 + "f")]],
     error="deeper than the 256 directories allowed")
DOT = [dir("./d"), file("./d//f"), file("./g")]
case("name-dot", [DOT], DOT)
case("name-absolute", [[file("/etc/passwd")]],
     [implicit("etc"), file("etc/passwd")], umoci=MADE)
case("name-dotdot", [[file("../escape")]], error="'..'")
case("name-dotdot-inside", [[dir("a"), file("a/../b")]], error="'..'")
case("name-empty", [[file("")]], error="no name")
case("root-file", [[file("./")]], error="")
case("root-symlink", [[symlink(".", "/etc")]],
     error="the root can be nothing but a directory")
case("root-attributes", [[dir("./", mode=0o711, uid=3, mtime=77)],
                         [file("a")]],
     [dir("./", mode=0o711, uid=3, mtime=77), file("a")])
case("sort", [[file(n) for n in ("b", "-", "..a", "!", "...", ".a", "a")]],
     [file(n) for n in ("b", "-", "..a", "!", "...", ".a", "a")])
same("dir-large", [dir("d")] + [file("d/%05d-%s" % (i, "n" * (i % 90)), b"")
                                for i in range(3000)])

# ---- sparse files ------------------------------------------------------------


def sparse_old(name, size, parts):
    """GNU's first form: the map is in the header."""
    data = b"".join(d for _, d in parts)
    rest = bytearray(167)
    for i, (at, d) in enumerate(parts[:4]):
        rest[41 + 24 * i:41 + 24 * i + 24] = b"%011o\0%011o\0" % (at, len(d))
    rest[138:150] = b"%011o\0" % size
    return Raw(header(name.encode(), b"S", len(data), mtime=1000000000,
                      magic=b"ustar  \0", rest=bytes(rest)) + pad(data))


def sparse_pax(name, size, parts):
    """Version 1.0: the map is in front of the contents."""
    data = b"".join(d for _, d in parts)
    text = "%d\n" % len(parts) + "".join("%d\n%d\n" % (at, len(d))
                                         for at, d in parts)
    body = pad(text.encode()) + data
    return Raw(pax([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"),
                    ("GNU.sparse.name", name),
                    ("GNU.sparse.realsize", str(size))]) +
               header(b"GNUSparseFile.0/" + name.encode(), b"0", len(body),
                      mtime=1000000000) + pad(body))


def filled(size, parts):
    out = bytearray(size)
    for at, d in parts:
        out[at:at + len(d)] = d
    return bytes(out)


PARTS = [(0, b"a" * 512), (65536, b"b" * 4096), (1 << 20, b"c" * 100)]
for form, make in (("old", sparse_old), ("pax", sparse_pax)):
    case("sparse-" + form, [[make("s", 1 << 21, PARTS), file("after")]],
         [file("s", filled(1 << 21, PARTS)), file("after")],
         umoci="it knows GNU's first form not" if form == "old" else None)
case("sparse-huge", [[sparse_pax("s", 1 << 62, [(0, b"x")])]],
     error="more than")

# ---- one layer over another --------------------------------------------------

A = [dir("d"), file("d/a"), file("d/b"), file("f"), symlink("s", "d")]
case("whiteout-file", [A, [whiteout("d/a")]], [A[0], A[2], A[3], A[4]])
case("whiteout-dir", [A, [whiteout("d")]], [A[3], A[4]])
case("whiteout-link", [A, [whiteout("s")]], A[:4])
case("whiteout-nothing", [A, [whiteout("nope"), whiteout("no/pe")]], A)
case("whiteout-lowest", [[file("a"), whiteout("a"), whiteout("b")]],
     [file("a")])
case("whiteout-before", [A, [whiteout("f"), file("f", b"new")]],
     A[:3] + [file("f", b"new"), A[4]])
case("whiteout-after", [A, [file("f", b"new"), whiteout("f")]],
     A[:3] + [file("f", b"new"), A[4]])
case("whiteout-dir-after", [A, [dir("d", mode=0o700), file("d/new"),
                                whiteout("d")]],
     [dir("d", mode=0o700), file("d/new"), A[3], A[4]],
     umoci="the whiteout changes the time of the directory")
case("whiteout-dir-implicit", [A, [file("d/new"), whiteout("d")]],
     [implicit("d"), file("d/new"), A[3], A[4]],
     umoci="it keeps the attributes of a directory that is gone")
case("whiteout-dir-implicit-before", [A, [whiteout("d"), file("d/new")]],
     [implicit("d"), file("d/new"), A[3], A[4]], umoci=MADE)
case("whiteout-lower-only", [A, [file("d/a", b"2")], [whiteout("d/a")]],
     [A[0], A[2], A[3], A[4]])
case("whiteout-through-link", [A, [whiteout("s/a")]],
     [A[0], A[2], A[3], A[4]])
case("whiteout-hidden", [A, [whiteout("f")], [file("g")]],
     A[:3] + [A[4], file("g")])
case("whiteout-is-link", [A, [hardlink(".wh.f", ".wh..wh.plnk/1.2")]],
     A[:3] + [A[4]])
case("opaque", [A, [dir("d"), opaque("d"), file("d/new")]],
     [dir("d"), file("d/new"), A[3], A[4]])
case("opaque-last", [A, [dir("d"), file("d/new"), file("d/a", b"2"),
                         opaque("d")]],
     [dir("d"), file("d/new"), file("d/a", b"2"), A[3], A[4]])
case("opaque-explicit", [A, [dir("d"), whiteout("d/a"), whiteout("d/b"),
                             file("d/new")]],
     [dir("d"), file("d/new"), A[3], A[4]])
B = [dir("x"), dir("x/y"), file("x/y/1"), dir("x/z"), file("x/z/2"), file("3")]
case("opaque-deep", [B, [file("x/y/new"), opaque("x")]],
     [B[0], implicit("x/y"), file("x/y/new"), B[5]],
     umoci="it keeps the attributes of a directory that is gone")
case("opaque-root", [B, [file("new"), opaque("")]], [file("new")])
case("opaque-nothing", [B, [opaque("no/such")]], B)
case("aufs-notes", [[file("a"), file(".wh..wh.aufs"), dir(".wh..wh.plnk"),
                     file(".wh..wh.plnk/1.2")]], [file("a")],
     umoci="it takes them for whiteouts")
case("whiteout-inside", [[file(".wh.a/b")]], error="it lies in a whiteout")
case("whiteout-of-none", [[file(".wh.")]], error="a whiteout of nothing")
case("whiteout-of-dot", [[file(".wh..")]], error="a whiteout of nothing")
case("whiteout-of-dots", [[file(".wh...")]], error="a whiteout of nothing")

case("file-over-file", [A, [file("f", b"2", mode=0o600, uid=9)]],
     A[:3] + [file("f", b"2", mode=0o600, uid=9), A[4]])
case("file-over-dir", [A, [file("d")]], [file("d"), A[3], A[4]])
case("file-over-link", [A, [file("s")]], A[:4] + [file("s")])
case("dir-over-file", [A, [dir("f", mode=0o711), file("f/in")]],
     A[:3] + [dir("f", mode=0o711), file("f/in"), A[4]])
case("dir-over-link", [A, [dir("s"), file("s/in")]],
     A[:4] + [dir("s"), file("s/in")])
case("link-over-dir", [A, [symlink("d", "f")]], [symlink("d", "f")] + A[3:])
case("dir-over-dir", [
    [dir("d", mode=0o700, xattrs={"user.old": b"1"}), file("d/a")],
    [dir("d", mode=0o750, uid=4, mtime=5)],
], [dir("d", mode=0o750, uid=4, mtime=5), file("d/a")])
case("dir-time-kept", [[dir("d", mtime=5), file("d/a")], [file("d/b")]],
     [dir("d", mtime=5), file("d/a"), file("d/b")])
case("fifo-over-dir", [A, [Entry("d", "fifo")]],
     [Entry("d", "fifo"), A[3], A[4]])
case("twice", [[file("a", b"1"), file("a", b"2", mode=0o600)]],
     [file("a", b"2", mode=0o600)])
case("twice-dir", [[dir("d", mode=0o700), file("d/a"), dir("d", mode=0o711)]],
     [dir("d", mode=0o711), file("d/a")])
case("twice-dir-file", [[dir("d"), file("d/a"), file("d")]], [file("d")])

# ---- links -------------------------------------------------------------------

case("hardlink", [[file("a"), hardlink("b", "a"), hardlink("c", "./b")]],
     [file("a"), file("b"), file("c")], links=["a b c"])
case("hardlink-lower", [[file("a")], [hardlink("b", "a")]],
     [file("a"), file("b")], links=["a b"])
case("hardlink-then-new", [[file("a"), hardlink("b", "a")],
                           [file("a", b"new")]],
     [file("a", b"new"), file("b")])
case("hardlink-then-gone", [[file("a"), hardlink("b", "a")], [whiteout("a")]],
     [file("b")])
case("hardlink-over", [[file("a"), dir("d"), file("d/x")],
                       [hardlink("d", "a")]],
     [file("a"), file("d")], links=["a d"])
case("hardlink-self", [[file("a"), hardlink("a", "a")]], [file("a")],
     umoci="it removes the file first")
case("hardlink-own-dir", [[dir("d"), file("d/x")], [hardlink("d", "d/x")]],
     [file("d")], umoci="it removes the directory first")
case("hardlink-symlink", [[symlink("s", "/nowhere"), hardlink("t", "s")]],
     [symlink("s", "/nowhere"), symlink("t", "/nowhere")], links=["s t"])
case("hardlink-attributes", [[file("a", mode=0o600),
                              hardlink("b", "a", mode=0o777, uid=5)]],
     [file("a", mode=0o600), file("b", mode=0o600)], links=["a b"])
case("hardlink-device", [[Entry("c", "char", dev=(1, 3)), hardlink("e", "c")]],
     [Entry("c", "char", dev=(1, 3)), Entry("e", "char", dev=(1, 3))],
     links=["c e"])
case("hardlink-absolute", [[file("a"), hardlink("b", "/a")]],
     [file("a"), file("b")], links=["a b"])
case("hardlink-missing", [[hardlink("b", "a")]],
     error="what it is a hard link to is not there")
case("hardlink-outside", [[hardlink("b", "../../../etc/passwd")]], error="'..'")
case("hardlink-outside-link", [[symlink("e", "/etc"),
                                hardlink("b", "e/passwd")]],
     error="a directory of its path is missing")
case("hardlink-dir", [[dir("d"), hardlink("e", "d")]],
     error="it is a hard link to a directory")

case("parents", [[file("a/b/c")]],
     [implicit("a"), implicit("a/b"), file("a/b/c")], umoci=MADE)
case("parent-link", [[dir("run"), dir("var"), symlink("var/run", "/run")],
                     [file("var/run/pid")]],
     [dir("run"), dir("var"), symlink("var/run", "/run"), file("run/pid")])
case("parent-link-relative", [[dir("run"), dir("var"),
                               symlink("var/run", "../../../run")],
                              [file("var/run/pid")]],
     [dir("run"), dir("var"), symlink("var/run", "../../../run"),
      file("run/pid")])
case("parent-link-dangling", [[symlink("l", "/a/b"), file("l/f")]],
     [symlink("l", "/a/b"), implicit("a"), implicit("a/b"), file("a/b/f")], umoci=MADE)
case("parent-file", [[file("a"), file("a/b")]], error="is none")
case("parent-loop", [[symlink("a", "b"), symlink("b", "a"), file("a/x")]],
     error="more than 40 links")
case("escape", [[symlink("out", "/etc"), symlink("up", "../../.."),
                 file("out/passwd", b"root::0:0"), file("up/etc/shadow")]],
     [symlink("out", "/etc"), symlink("up", "../../.."), implicit("etc"),
      file("etc/passwd", b"root::0:0"), file("etc/shadow")], umoci=MADE)
case("space-reused", [
    [file("a", b"a" * 9000), file("b", b"b" * 5000), file("c", b"c" * 100)],
    [whiteout("a"), whiteout("b")],
    [file("d", b"d" * 13000), file("e", b"e" * 3000),
     sparse_pax("f", 8000, [(4096, b"f" * 10)])],
], [file("c", b"c" * 100), file("d", b"d" * 13000), file("e", b"e" * 3000),
    file("f", filled(8000, [(4096, b"f" * 10)]))])

# ---- the stream --------------------------------------------------------------

PLAIN = [dir("d"), file("d/f", b"some text\n" * 1000), file("g")]
for how in ("none", "gzip", "zstd"):
    same("packed-" + how, PLAIN, pack=how,
         umoci="it knows no zstd" if how == "zstd" else None)
    # Of a layer that is not packed, manifest and config already disagree.
    case("packed-%s-wrong-digest" % how, [PLAIN], pack=how,
         diff_id="sha256:" + "5" * 64, error="sha256:" + "5" * 64)
    case("packed-%s-cut" % how, [PLAIN], pack=how,
         blobs=lambda b: b[:len(b) // 2],
         error="in the config" if how == "none" else "data ends too soon")
case("gzip-members", [PLAIN], PLAIN,
     blobs=lambda b: b"".join(
         gzip.compress(tar(PLAIN)[i:i + 700]) for i in
         range(0, len(tar(PLAIN)), 700)))
case("gzip-crc", [PLAIN], error="gzip",
     blobs=lambda b: b[:-8] + b"\0\0\0\0" + b[-4:])
case("gzip-garbage", [PLAIN], error="damaged gzip data",
     blobs=lambda b: b + b"garbage that is no gzip member" * 9)
case("tar-garbage", [tar(PLAIN, END + bytes(20 * BLOCK) + b"\xff" * 5000)],
     PLAIN)
case("tar-no-end", [tar(PLAIN, b"")], PLAIN)
case("tar-empty", [tar([])], [])
case("tar-nothing", [b""], [])
# Its last file is a byte; what fills the block up behind it is not there.
case("tar-no-padding", [tar(PLAIN, b"")[:1 - BLOCK]], PLAIN)
case("tar-cut-in-last", [tar([file("g", b"y" * 700)], b"")[:-400]],
     error="Truncated")
case("tar-cut", [tar(PLAIN)[:3000]], error="Truncated")
case("tar-checksum", [tar(PLAIN)[:BLOCK] + b"X" + tar(PLAIN)[BLOCK + 1:]],
     error="damaged tar")
case("tar-not", [b"<html>404</html>" * 100], error="damaged tar")
case("size-wrong", [PLAIN], size=lambda n: n + 1, error="")
case("layers-none", [], [])
case("layers-many", [[file("f%d" % i), file("top", b"%d" % i)]
                     for i in range(127)],
     [file("f%d" % i) for i in range(127)] + [file("top", b"126")])

# ---- bombs -------------------------------------------------------------------

ZEROS = gzip.compress(bytes(64 << 20), 9)
case("bomb-file", [b""], error="more than 200 times",
     diff_id="sha256:" + "0" * 64,
     blobs=lambda b: gzip.compress(header(b"zeros", b"0", 10 << 30)) +
     ZEROS * 160)
case("bomb-tail", [b""], error="more than 200 times",
     diff_id="sha256:" + "0" * 64,
     blobs=lambda b: gzip.compress(tar(PLAIN)) + ZEROS * 160)
case("bomb-size", [[file("a", b"x" * 100000)]], args=["--max-size", "90000"],
     error="more than the 90000 bytes")
case("bomb-entries", [[file("f%d" % i, b"") for i in range(1001)]],
     args=["--max-entries", "1000"], error="more than the 1000 entries")
case("bomb-names", [[symlink("s%d" % i, "t" * 4000) for i in range(300)]],
     args=["--max-names", "1M"], error="more than the 1048576 bytes")
case("pax-huge", [[Raw(pax([("comment", "c" * 700000)])), file("a")]],
     error="extended headers are too large")
case("pax-broken", [[Raw(header(b"x", b"x", 20) + pad(b"99999 path=a\n")),
                     file("a")]], error="extended")
