#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The conformance corpus of layers (cases.py), made and checked.

	corpus.py make DIR [CASE...]	an OCI layout DIR/CASE for each; prints
					CASE, and the error to expect or "-",
					and options, a line, with tabs
	corpus.py check CASE TREE	compares a tree with what is expected
	corpus.py check-all LIST	the same of EROFS images, which it
					mounts: lines of CASE, tab, path
	corpus.py umoci DIR		compares what umoci makes of the corpus
"""
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from cases import CASES  # noqa: E402
from layout import MEDIA, Layout, pack, sha256  # noqa: E402
from tar import tar  # noqa: E402


def load(name, path):
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_loader(name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


tree_diff = load("tree_diff", os.path.join(HERE, "..", "tree-diff"))


def make(case, out):
    layout = Layout(out)
    layers, diff_ids = [], []
    for entries in case.layers:
        data = entries if isinstance(entries, bytes) else tar(entries)
        blob = pack(data, case.pack)
        if case.blobs:
            blob = case.blobs(blob)
        desc = layout.blob(blob, MEDIA[case.pack])
        if case.size:
            desc["size"] = case.size(desc["size"])
        layers.append(desc)
        diff_ids.append(case.diff_id or sha256(data))
    layout.image(layers, diff_ids)


def expected(case):
    entries = {}
    for e in case.tree:
        entries[e.path()] = e.expected()
    for group in case.links:
        names = [b"./" + n.encode() for n in group.split()]
        for n in names:
            entries[n]["nlink"] = len(names)
            entries[n]["inode"] = names[0]
    for path, e in entries.items():
        if e["type"] != "dir":
            e.setdefault("nlink", 1)
            e.setdefault("inode", path)
    return entries


def check(case, top, left_out=()):
    """Differences, one a line."""
    here = os.getcwd()
    try:
        have = tree_diff.tree(top)
    finally:
        os.chdir(here)
    want = expected(case)
    found = []
    for path in sorted(have.keys() | want.keys()):
        name = tree_diff.show(path)
        if path not in have:
            found.append(name + ": missing")
        elif path not in want:
            found.append(name + ": should not be there")
        else:
            found += tree_diff.difference(path, have[path], want[path],
                                          set(left_out))
    return found


def check_all(lines):
    bad = 0
    for line in lines:
        name, image = line.rstrip("\n").split("\t")
        top = tempfile.mkdtemp(dir="/tmp")
        subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", image, top],
                       check=True)
        try:
            found = check(CASES[name], top)
        finally:
            subprocess.run(["umount", top], check=True)
            os.rmdir(top)
        bad += bool(found)
        for text in found[:10]:
            print("%s: %s" % (name, text))
    return bad


def run_umoci(out):
    """What umoci says and we say otherwise; each must have its reason."""
    bad = 0
    for name, case in CASES.items():
        if case.tree is None:
            continue
        layout, bundle = "%s/%s" % (out, name), "%s/%s.umoci" % (out, name)
        shutil.rmtree(bundle, ignore_errors=True)
        r = subprocess.run(["umoci", "unpack", "--image", layout + ":v1",
                            bundle], capture_output=True)
        found = [r.stderr.decode().strip().split("\n")[-1]] if r.returncode \
            else check(case, bundle + "/rootfs")
        shutil.rmtree(bundle, ignore_errors=True)
        if bool(found) == bool(case.umoci):
            if found:
                print("%s: differs: %s" % (name, case.umoci))
            continue
        bad += 1
        print("%s: NOT as said (%s): %s" % (name, case.umoci, found[:3]))
    return bad


def main():
    what, args = sys.argv[1], sys.argv[2:]
    if what == "make":
        for name in args[1:] or CASES:
            case = CASES[name]
            make(case, "%s/%s" % (args[0], name))
            error = "-" if case.error is None else case.error or "*"
            print("\t".join([name, error, " ".join(case.args)]))
        return 0
    if what == "check":
        found = check(CASES[args[0]], args[1])
        print("\n".join(found), end="\n" if found else "")
        return bool(found)
    if what == "check-all":
        with open(args[0]) as f:
            return bool(check_all(f))
    return bool(run_umoci(args[0]))


if __name__ == "__main__":
    sys.exit(main())
