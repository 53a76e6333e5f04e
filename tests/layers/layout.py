#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""OCI image layouts, written by hand so that they can be wrong.

	layout.py OUT [-z gzip|zstd|none] [--long LOG] TAR...

makes the layout OUT with one image, tagged v1, of the layers given; with a
window of 2^LOG bytes for zstd.
"""
import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess

MEDIA = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "none": "application/vnd.oci.image.layer.v1.tar",
}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path):
    with open(path, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()


class Layout:
    def __init__(self, path):
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path + "/blobs/sha256")
        with open(path + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, media):
        digest = sha256(data)
        with open("%s/blobs/sha256/%s" % (self.path, digest[7:]), "wb") as f:
            f.write(data)
        return {"mediaType": media, "digest": digest, "size": len(data)}

    def file_blob(self, path, media):
        """The same of a file, which is moved."""
        digest = sha256_file(path)
        size = os.stat(path).st_size
        os.rename(path, "%s/blobs/sha256/%s" % (self.path, digest[7:]))
        return {"mediaType": media, "digest": digest, "size": size}

    def image(self, layers, diff_ids, config=None):
        doc = {
            "architecture": "amd64", "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        desc = self.blob(json.dumps(doc).encode(),
                         "application/vnd.oci.image.config.v1+json")
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": desc, "layers": layers,
        }
        desc = self.blob(json.dumps(manifest).encode(), manifest["mediaType"])
        desc["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
        with open(self.path + "/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": [desc]}, f)
        return desc["digest"]


def pack(data, how):
    if how == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data,
                              stdout=subprocess.PIPE, check=True).stdout
    return data


def pack_file(path, out, how, log=None):
    cmd = {"gzip": ["gzip", "-6nc"], "zstd": ["zstd", "-qcT0"],
           "none": ["cat"]}[how]
    if log:
        cmd.append("--long=" + log)
    with open(path, "rb") as i, open(out, "wb") as o:
        subprocess.run(cmd, stdin=i, stdout=o, check=True)


def main():
    p = argparse.ArgumentParser(prog="layout.py")
    p.add_argument("-z", choices=MEDIA, default="gzip")
    p.add_argument("--long")
    p.add_argument("out")
    p.add_argument("tars", nargs="+")
    args = p.parse_args()
    layout = Layout(args.out)
    layers, diff_ids = [], []
    for tar in args.tars:
        tmp = args.out + "/layer"
        pack_file(tar, tmp, args.z, args.long)
        layers.append(layout.file_blob(tmp, MEDIA[args.z]))
        diff_ids.append(sha256_file(tar))
    config = {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]}
    print(layout.image(layers, diff_ids, config))


if __name__ == "__main__":
    main()
