#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# Makes small kernels and packages that iso-kernel takes for real ones, and the
# broken ones that it must not take:
#
#   make-kernel.py tree DIR [--release R] [--without MODULE]... [--pad MIB]
#                           [--packing KIND] [--break WHAT]
#   make-kernel.py deb DIR FILE [--arch A] [--package NAME] [--evil PATH]
#
# A tree is what dpkg-deb -x would leave: a bzImage around an ELF file with the
# PVH note, and modules with real symbol tables, so that depmod finds their
# dependencies.  The real kernel has a test of its own; this one takes
# milliseconds, needs no network, and can be wrong in every way.
import argparse
import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import tempfile

# name: (subdirectory, symbols exported, symbols wanted, soft dependency)
MODULES = {
    "virtio": ("drivers/virtio", ["register_virtio_driver"], [], None),
    "virtio_ring": ("drivers/virtio", ["vring_new_virtqueue"],
                    ["register_virtio_driver"], None),
    "virtio_mmio": ("drivers/virtio", [], ["vring_new_virtqueue"], None),
    "virtio_pci": ("drivers/virtio", [], ["vring_new_virtqueue"], None),
    "virtio_balloon": ("drivers/virtio", [], ["vring_new_virtqueue"], None),
    "virtio_blk": ("drivers/block", [], ["vring_new_virtqueue"], None),
    "virtio_net": ("drivers/net", [], ["vring_new_virtqueue"], None),
    "virtio_console": ("drivers/char", [], ["vring_new_virtqueue"], None),
    "virtio-rng": ("drivers/char/hw_random", [], ["vring_new_virtqueue"],
                   None),
    "vsock": ("net/vmw_vsock", ["vsock_core_register"], [], None),
    "vmw_vsock_virtio_transport": ("net/vmw_vsock", [],
                                   ["vsock_core_register"], None),
    "crc32c_intel": ("arch/x86/crypto", [], [], None),
    "libcrc32c": ("lib", ["crc32c"], [], "pre: crc32c_intel"),
    "erofs": ("fs/erofs", [], ["crc32c"], None),
    "xfs": ("fs/xfs", [], ["crc32c"], None),
    "overlay": ("fs/overlayfs", [], [], None),
    "fuse": ("fs/fuse", ["fuse_dev_alloc"], [], None),
    "virtiofs": ("fs/fuse", [], ["fuse_dev_alloc", "vring_new_virtqueue"],
                 None),
    "kvm": ("arch/x86/kvm", ["kvm_init"], [], None),
    "kvm-amd": ("arch/x86/kvm", [], ["kvm_init"], None),
    "tun": ("drivers/net", [], [], None),
}
BUILTIN = ["kernel/fs/ext4/ext4.ko", "kernel/drivers/dax/dax.ko"]


def module(name, exports, wants, soft):
    """A relocatable object with what depmod looks at, by the assembler."""
    info = ["name=" + name.replace("-", "_"), "license=MIT"]
    if soft:
        info.append("softdep=" + soft)
    text = ".section .modinfo,\"a\"\n"
    text += "".join(".asciz \"%s\"\n" % i for i in info)
    text += ".section __ksymtab_strings,\"a\"\n"
    text += "".join(".asciz \"%s\"\n" % s for s in exports)
    text += ".text\n" + "".join("call %s\n" % s for s in wants)
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["as", "-o", out.name, "-"], check=True,
                       input=text.encode())
        return out.read()


def note(name, kind, desc):
    pad = lambda b: b + b"\0" * (-len(b) % 4)
    return struct.pack("<III", len(name), len(desc), kind) + pad(name) + \
        pad(desc)


def vmlinux(release, wrong):
    """An ELF file with one page to load and the notes of a PVH kernel."""
    banner = b"Linux version %s (nobody@nowhere) #1\n\0" % release.encode()
    notes = note(b"GNU\0", 3, b"0123456789abcdef0123")
    if wrong != "pvh":
        notes += note(b"Xen\0", 18, struct.pack("<Q", 0x1000000))
    machine = 183 if wrong == "machine" else 62
    body = banner + b"\x90" * 3000
    head = 64 + 2 * 56
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\177ELF\2\1\1", 2, machine, 1,
                      0x1000000, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, head, 0x1000000, 0x1000000,
                       len(body), len(body), 4096)
    elf += struct.pack("<IIQQQQQQ", 4, 4, head + len(body), 0, 0, len(notes),
                       len(notes), 4)
    return elf + body + notes


def lz4_legacy(data):
    """One block that is one run of literals."""
    n, block = len(data) - 15, b"\xf0"
    while n >= 255:
        block, n = block + b"\xff", n - 255
    block += bytes([n]) + data
    return struct.pack("<II", 0x184c2102, len(block)) + block


def zstd_stored(data):
    """One frame, one stored block."""
    return struct.pack("<IBI", 0xfd2fb528, 0xa0, len(data)) + \
        struct.pack("<I", 1 | len(data) << 3)[:3] + data


PACKERS = {
    "gzip": gzip.compress,
    "xz": lambda d: lzma.compress(d, check=lzma.CHECK_CRC32),
    "lzma": lambda d: lzma.compress(d, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "lz4": lz4_legacy,
    "zstd": zstd_stored,
    "lzo": lambda d: b"\x89LZO" + d,
}


def bzimage(kernel, packing, wrong):
    size = len(kernel) + (1 if wrong == "size" else 0)
    payload = PACKERS[packing](kernel)
    if packing != "gzip":
        payload += struct.pack("<I", size)
    head = bytearray(4 * 512)
    head[0x1f1] = 3
    struct.pack_into("<H", head, 0x1fe, 0xaa55)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206,
                     0x0205 if wrong == "protocol" else 0x020f)
    length = 1 << 31 if wrong == "payload" else len(payload)
    struct.pack_into("<II", head, 0x248, 64, length)
    return bytes(head) + b"\xcc" * 64 + payload


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def make_tree(a):
    image = vmlinux(a.release, a.wrong)
    if a.wrong != "vmlinux":
        image = bzimage(image, a.packing, a.wrong)
    write("%s/boot/vmlinuz-%s" % (a.dir, a.release), image)
    top = "%s/lib/modules/%s" % (a.dir, a.release)
    order = []
    for name, (where, exports, wants, soft) in MODULES.items():
        if name in a.without:
            continue
        path = "kernel/%s/%s.ko" % (where, name)
        data = module(name, exports, wants, soft)
        order.append(path)
        # One is compressed, as all are in newer distributions.
        if name == "overlay":
            path, data = path + ".xz", lzma.compress(data)
        write("%s/%s" % (top, path), data)
    if a.pad:
        write(top + "/kernel/pad.bin", os.urandom(1 << 20) * a.pad)
    write(top + "/modules.builtin", "\n".join(BUILTIN + [""]).encode())
    write(top + "/modules.order", "\n".join(order + [""]).encode())


def tar(fill):
    """A tar file, packed as fast as can be: gzip without compression."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as t:
        fill(t)
    return out.getvalue()


def add_bytes(t, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    t.addfile(info, io.BytesIO(data))


def ar(members):
    out = b"!<arch>\n"
    for name, data in members:
        out += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"100644",
                                                    len(data))
        out += data + b"\n" * (len(data) % 2)
    return out


def make_deb(a):
    control = "Package: %s\nVersion: %s\nArchitecture: %s\n" % (
        a.package, a.version, a.arch)

    def data(t):
        if a.dir != "-":
            t.add(a.dir, ".")
        if a.evil:
            add_bytes(t, a.evil, b"evil")

    write(os.path.abspath(a.file), ar([
        (b"debian-binary", b"2.0\n"),
        (b"control.tar.gz",
         tar(lambda t: add_bytes(t, "./control", control.encode()))),
        (b"data.tar.gz", tar(data))]))


def main():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(dest="what", required=True)
    t = sub.add_parser("tree")
    t.add_argument("dir")
    t.add_argument("--release", default="9.9.9-test")
    t.add_argument("--without", action="append", default=[])
    t.add_argument("--pad", type=int, default=0)
    t.add_argument("--packing", default="lz4", choices=PACKERS)
    t.add_argument("--break", dest="wrong", default="")
    t.set_defaults(run=make_tree)
    d = sub.add_parser("deb")
    d.add_argument("dir")
    d.add_argument("file")
    d.add_argument("--arch", default="amd64")
    d.add_argument("--package", default="linux-image-9.9.9-test")
    d.add_argument("--version", default="9.9.9-1")
    d.add_argument("--evil")
    d.set_defaults(run=make_deb)
    a = p.parse_args()
    a.run(a)


main()
