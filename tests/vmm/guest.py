#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run iso-vmm with guests of tests/guests and see what comes of it.

    guest.py VMM GUESTS [--no-jail] CASE...

VMM is the program, GUESTS the directory of the guests' files.  Prints a line
"ok - TEXT" or "not ok - TEXT" a test, remarks as "# TEXT", and "skip - TEXT"
for what cannot be run here; the exit status is 0 if all of that could be found
out.  All cases are one process because its start, on an emulated processor, is
what takes the time.
"""
import sys
import time

sys.dont_write_bytecode = True  # the tree stays as it is

import devices  # noqa: E402
import machine  # noqa: E402
import monitor  # noqa: E402


def run(name):
    verb, *args = name.split(":")
    monitor.case = name
    start = time.monotonic()
    try:
        for module in devices, machine:
            case = getattr(module, "case_" + verb, None)
            if case:
                case(*args)
                break
        else:
            raise SystemExit(f"guest.py: {name}: there is no such case")
    finally:
        for vmm in monitor.Vmm.all:
            vmm.end()
        monitor.Vmm.all.clear()
    monitor.remark(f"{name}: {time.monotonic() - start:.1f} s")


monitor.program, monitor.guests, *cases = sys.argv[1:]
if cases[0] == "--no-jail":
    monitor.extra = cases[:1]
    del cases[0]
for c in cases:
    run(c)
