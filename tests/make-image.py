#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# Makes images for tests and benchmarks, as OCI layouts or docker archives:
#
#   make-image.py layout DIR TAG [--layer SPEC]... [--docker] [--index]
#                 [--arch A] [--break WHAT]
#   make-image.py archive FILE [--layer SPEC]... [--old] [--images N]
#
# SPEC is SIZE[:gzip|zstd|none[:random|text|mixed]], SIZE in bytes or with K, M.
# The same arguments make the same bytes.
import argparse
import gzip
import hashlib
import io
import json
import os
import random
import struct
import tarfile

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


def sha(data):
    return hashlib.sha256(data).hexdigest()


def size_of(text):
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1])
    return int(text[:-1]) * unit if unit else int(text)


def fill(size, kind, seed):
    rng = random.Random(seed)
    if kind == "random":
        return rng.randbytes(size)
    words = [rng.randbytes(rng.randint(2, 9)).hex().encode() + b" "
             for _ in range(2000)]
    text = b"".join(rng.choices(words, k=1 << 16))
    text = (text * (size // len(text) + 1))[:size]
    if kind == "text":
        return text
    half = size // 2
    return text[:half] + rng.randbytes(size - half)


def layer_tar(size, kind, seed):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        info = tarfile.TarInfo("etc")
        info.type = tarfile.DIRTYPE
        info.mode = 0o755
        t.addfile(info)
        done = 0
        while done < size or not done:
            part = min(size - done, 1 << 20)
            info = tarfile.TarInfo("etc/file-%d-%d" % (seed, done))
            info.size = part
            t.addfile(info, io.BytesIO(fill(part, kind, (seed << 32) + done)))
            done += part or 1
    return out.getvalue()


def zstd_stored(data):
    """One frame of stored blocks, without a window of its own."""
    out = struct.pack("<IBB", 0xfd2fb528, 0, 0x38)
    for at in range(0, len(data), 1 << 17):
        block = data[at:at + (1 << 17)]
        last = at + len(block) >= len(data)
        out += struct.pack("<I", last | len(block) << 3)[:3] + block
    return out


PACK = {
    "none": lambda d: d,
    "gzip": lambda d: gzip.compress(d, 1, mtime=0),
    "zstd": zstd_stored,
}
LAYER_TYPE = {
    "none": (OCI + "layer.v1.tar", DOCKER + "image.rootfs.diff.tar"),
    "gzip": (OCI + "layer.v1.tar+gzip", DOCKER + "image.rootfs.diff.tar.gzip"),
    "zstd": (OCI + "layer.v1.tar+zstd", DOCKER + "image.rootfs.diff.tar.zstd"),
}


def make_layers(specs):
    for seed, spec in enumerate(specs):
        parts = spec.split(":")
        size = size_of(parts[0])
        pack = parts[1] if len(parts) > 1 and parts[1] else "gzip"
        kind = parts[2] if len(parts) > 2 else "mixed"
        tar = layer_tar(size, kind, seed)
        yield pack, sha(tar), PACK[pack](tar)


def config_of(diff_ids, arch):
    return json.dumps({
        "architecture": arch, "os": "linux",
        "config": {"Env": ["PATH=/bin", "A=b c"], "Cmd": ["/bin/sh"],
                   "User": "1000", "WorkingDir": "/srv",
                   "Labels": {"a": "b"}},
        "rootfs": {"type": "layers",
                   "diff_ids": ["sha256:" + d for d in diff_ids]},
    }).encode()


class Layout:
    def __init__(self, path):
        self.path = path
        os.makedirs(path + "/blobs/sha256", exist_ok=True)
        with open(path + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')

    def put(self, data, media, **more):
        with open("%s/blobs/sha256/%s" % (self.path, sha(data)), "wb") as f:
            f.write(data)
        return dict({"mediaType": media, "digest": "sha256:" + sha(data),
                     "size": len(data)}, **more)

    def name(self, desc, tag):
        path = self.path + "/index.json"
        index = {"schemaVersion": 2, "manifests": []}
        if os.path.exists(path):
            with open(path) as f:
                index = json.load(f)
        desc = dict(desc, annotations={
            "org.opencontainers.image.ref.name": tag})
        index["manifests"] = [
            m for m in index["manifests"]
            if m["annotations"] != desc["annotations"]] + [desc]
        with open(path, "w") as f:
            json.dump(index, f)


def make_manifest(layout, a, arch):
    layers, diff_ids = [], []
    family = 1 if a.docker else 0
    for pack, diff_id, data in make_layers(a.layer):
        diff_ids.append(diff_id)
        layers.append(layout.put(data, LAYER_TYPE[pack][family]))
    if a.wrong == "foreign":
        layers[-1]["mediaType"] = DOCKER + "image.rootfs.foreign.diff.tar.gzip"
    if a.wrong == "encrypted":
        layers[-1]["mediaType"] += "+encrypted"
    if a.wrong == "diff_ids":
        diff_ids.pop()
    config = layout.put(config_of(diff_ids, arch),
                        (OCI + "config.v1+json",
                         DOCKER + "container.image.v1+json")[family])
    if a.wrong == "artifact":
        config["mediaType"] = "application/vnd.example.thing.v1+json"
    media = (OCI + "manifest.v1+json",
             DOCKER + "distribution.manifest.v2+json")[family]
    return layout.put(json.dumps({
        "schemaVersion": 2, "mediaType": media, "config": config,
        "layers": layers}).encode(), media)


def make_layout(a):
    layout = Layout(a.dir)
    if not a.index:
        desc = make_manifest(layout, a, a.arch)
        layout.name(desc, a.tag)
        print(desc["digest"])
        return
    entries = []
    for arch in "arm64", "amd64":
        entries.append(dict(make_manifest(layout, a, arch),
                            platform={"os": "linux", "architecture": arch}))
    media = OCI + "index.v1+json"
    if a.docker:
        media = DOCKER + "distribution.manifest.list.v2+json"
    desc = layout.put(json.dumps({
        "schemaVersion": 2, "mediaType": media,
        "manifests": entries}).encode(), media)
    layout.name(desc, a.tag)
    print(desc["digest"], entries[1]["digest"])


def make_archive(a):
    with tarfile.open(a.file, "w") as t:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))

        names, diff_ids = [], []
        for pack, diff_id, data in make_layers(a.layer):
            name = "blobs/sha256/" + sha(data)
            if a.old:
                name = diff_id + "/layer.tar"
            if name in names:
                pass
            elif a.wrong == "bytes":
                add(name, data[:-1] + b"x")
            elif a.wrong != "missing":
                add(name, data)
            names.append(name)
            diff_ids.append(diff_id)
        config = config_of(diff_ids, "amd64")
        name = sha(config) + ".json" if a.old else \
            "blobs/sha256/" + sha(config)
        add(name, config)
        image = {"Config": name, "RepoTags": ["a:1"], "Layers": names}
        add("manifest.json", json.dumps([image] * a.images).encode())


def main():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(dest="what", required=True)
    o = sub.add_parser("layout")
    o.add_argument("dir")
    o.add_argument("tag")
    o.add_argument("--docker", action="store_true")
    o.add_argument("--index", action="store_true")
    o.add_argument("--arch", default="amd64")
    o.set_defaults(run=make_layout)
    d = sub.add_parser("archive")
    d.add_argument("file")
    d.add_argument("--old", action="store_true")
    d.add_argument("--images", type=int, default=1)
    d.set_defaults(run=make_archive)
    for s in o, d:
        s.add_argument("--layer", action="append", default=[])
        s.add_argument("--break", dest="wrong", default="")
    a = p.parse_args()
    a.run(a)


main()
