# SPDX-License-Identifier: MIT
"""The cases of the devices."""
import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import threading

from monitor import LIMIT, MIB, Vmm, equal, noise, ok, skip

# lib/vmm/virtio/queue.c and mmio.c, in the order of guests/rings.c
RING_RULES = [
    "size",
    "alignment of the rings",
    "rings outside of memory",
    "queue enabled before FEATURES_OK",
    "DRIVER_OK before FEATURES_OK",
    "avail index",
    "head beyond the table",
    "descriptor beyond the table",
    "chain longer than the queue",
    "readable buffer after a writable one",
    "buffer outside of memory",
    "chain of 2^32 bytes",
    "indirect in indirect",
    "indirect with next",
    "size of the indirect table",
    "indirect table outside of memory",
    "alignment of the indirect table",
]


def case_rings(device):
    if device == "net":
        with echoing_tap() as tap:
            if tap is not None:
                rings(device, options=["--tap", str(tap)], fds=[tap])
    else:
        rings(device, root=noise(8192), scratch=bytes(MIB))


def rings(device, **args):
    v = Vmm("rings", device, **args)
    v.check([device], RING_RULES)


def case_regs():
    Vmm("regs", root=noise(8192), scratch=bytes(MIB)).check(
        ["blk", "pmem", "vsock", "rng", "balloon"])


def case_rng():
    Vmm("rng").check(["rng"], ["readable buffer for entropy"])


def case_balloon():
    v = Vmm("balloon")
    v.check(["balloon"], ["page outside of memory",
                          "readable buffer for reporting"])
    v = Vmm("balloon", "wait")
    ok(v.ask("balloon 9999999").startswith("error: "), "more than there is")
    ok(v.ask("balloon -1").startswith("error: "), "less than nothing")
    equal(v.ask("balloon 17"), "ok", "17 pages are asked for")
    v.check()
    equal(v.told("given up"), 17, "and come")


BLK_RULES = ["disk request without a header", "disk request without a status"]


def case_scratch():
    v = Vmm("blk", "scratch", scratch=noise(MIB))
    v.check(["blk"], BLK_RULES)
    equal(os.path.getsize(v.tmp + "/scratch"), MIB, "the disk is as large")


def case_root():
    data = noise(MIB)
    v = Vmm("blk", "root", root=data, options=["--rootfs-blk"])
    v.check(["blk"], BLK_RULES)
    with open(v.tmp + "/root", "rb") as f:
        ok(f.read() == data, "the file is what it was")


def guest_sum(data):
    s = 0
    for b in data:
        s = (s * 31 + b) & 0xffffffff
    return s


def case_pmem():
    # Not to a page: the rest of the last one is zeros, and what follows too.
    # Its first word is no request, see guests/pmem.c.
    data = b"isok" + noise(3 * MIB + 996)
    v = Vmm("pmem", root=data)
    v.check(["pmem"], ["pmem request without a type",
                       "pmem request without an answer",
                       "rings outside of memory", "buffer outside of memory"])
    equal(v.told("size"), 4 * MIB, "its size is a multiple of 2 MiB")
    equal(v.told("first"), guest_sum(data[:4096]), "it begins as the file")
    equal(v.told("last"), 0, "and ends with zeros")
    with open(v.tmp + "/root", "rb") as f:
        ok(f.read() == data, "the file is what it was")
    data = noise(2 * MIB)
    v = Vmm("pmem", root=data)
    v.check_end("power-off")
    equal(v.told("size"), 2 * MIB, "a file that needs no more")
    equal(v.told("last"), guest_sum(data[-4096:]), "is all there")


def read_all(s):
    data = b""
    while True:
        with contextlib.suppress(ConnectionResetError):
            part = s.recv(65536)
            data += part
            if part:
                continue
        return data


def case_vsock():
    v = Vmm("vsock", options=["--cid", "77"])

    def client(line=b"CONNECT 52\nhello"):
        s = v.connect("vsock.sock", socket.SOCK_STREAM)
        s.sendall(line)
        return s

    with client() as s:
        answer = read_all(s)
        ok(re.fullmatch(rb"OK \d+\nHELLO", answer), "a client is served")
    for bad in b"GET / HTTP/1.1\r\n\r\n", b"CONNECT 4294967295\n", b"x" * 99:
        with client(bad) as s:
            equal(read_all(s), b"", f"{bad[:20]!r} is not answered")
    with client() as s:
        # Not reading is what fills its buffers.
        p = select.poll()
        p.register(s, select.POLLHUP)
        p.poll(1000 * LIMIT)
        answer = read_all(s)
        ok(answer.startswith(b"OK ") and len(answer) < 4 * MIB,
           "a client is not flooded")
    with client() as s:
        answer = read_all(s)
        ok(re.fullmatch(rb"OK \d+\n", answer), "a client lives through a reset")
    v.check(["vsock"], ["packet shorter than its header",
                        "packet shorter than it says",
                        "writable buffer to send from",
                        "readable buffer to receive into",
                        "buffer too small for a packet"])
    equal(v.told("cid"), 77, "the guest's address is the one given")


TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000
ETHERTYPE = 0x88b5


def make_tap():
    """A tap's descriptor, and a socket on the interface."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH22x", b"", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
    name = fcntl.ioctl(tap, TUNSETIFF, request)[:16].rstrip(b"\0").decode()
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                      socket.htons(ETHERTYPE))
    s.bind((name, ETHERTYPE))
    return tap, s


def echo(s, stop):
    p = select.poll()
    p.register(s, select.POLLIN)
    p.register(stop, select.POLLIN)
    while not any(fd == stop for fd, _ in p.poll()):
        data, where = s.recvfrom(65536)
        if where[2] != socket.PACKET_OUTGOING:
            s.send(data)


@contextlib.contextmanager
def echoing_tap():
    """A tap's descriptor, with somebody who answers; None: it cannot be."""
    try:
        tap, s = make_tap()
    except (OSError, subprocess.CalledProcessError) as e:
        skip(f"no tap can be made: {e}")
        yield None
        return
    stop, end = os.pipe()
    thread = threading.Thread(target=echo, args=(s, stop))
    thread.start()
    try:
        yield tap
    finally:
        os.write(end, b"x")
        thread.join()
        s.close()
        for fd in tap, stop, end:
            os.close(fd)


def case_net():
    with echoing_tap() as tap:
        if tap is None:
            return
        v = Vmm("net", options=["--tap", str(tap)], fds=[tap])
        v.check(["net"], ["packet of no possible size",
                          "receive buffer without room"])
