#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A tar with many entries, fast: many.py N writes it to standard output.

The N entries are files and directories, 50 to a directory, as packages of a
language have them; a hundredth of the files have contents.
"""
import sys

ZEROS = bytes(512)


def header(name, kind, mode, size):
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:108] = b"%07o\0" % mode
    h[108:124] = b"0000000\0" * 2
    h[124:136] = b"%011o\0" % size
    h[136:148] = b"%011o\0" % 1700000000
    h[148:156] = b" " * 8
    h[156:157] = kind
    h[257:265] = b"ustar\00000"
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def main():
    out = sys.stdout.buffer
    for i in range(int(sys.argv[1])):
        top = b"modules/%03d/package-%06d" % (i // 50 % 500, i // 50)
        if i % 50 == 0:
            out.write(header(top + b"/", b"5", 0o755, 0))
            continue
        size = 4 if i % 100 == 1 else 0
        out.write(header(top + b"/module-%07d.js" % i, b"0", 0o644, size))
        if size:
            out.write(b"%-512d" % (i % 1000))
    out.write(ZEROS * 2)


if __name__ == "__main__":
    main()
