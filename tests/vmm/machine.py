# SPDX-License-Identifier: MIT
"""The cases of the machine: what is where, processors, ends, and the control
socket."""
import array
import contextlib
import json
import os
import select
import socket
import subprocess

import monitor
from monitor import LIMIT, MIB, RAM, Vmm, ask, equal, ok


def case_map():
    other = ["the guest asks for sleep state 3, which there is not"]
    for memory in RAM, 3 << 30, 4 << 30:
        v = Vmm("map", memory=memory)
        v.check(["rng"], ["buffer outside of memory"], other)
        equal((v.told("low") + (v.told("high MiB") << 20)), memory,
              f"all of {memory >> 20} MiB")


def case_smp():
    for n in 2, 4:
        v = Vmm("smp", str(n), options=["--vcpus", str(n)])
        v.check_end("power-off")
        v.check_console()


def case_ends():
    v = Vmm("ends", "triple")
    v.check_end("error", 1,
                r"^vCPU 0: exit 8 \(triple fault.*\) at address 0x[0-9a-f]+$")
    v = Vmm("ends", "nowhere")
    v.check_end("error", 1, r"^vCPU 0: exit \d+ \(.*\) at address 0x[0-9a-f]+$")
    Vmm("ends", "reset").check_end("reset")


def stats(s):
    return json.loads(ask(s, "stats"))


def case_pause():
    """A guest that runs all the time stands still when told to, until whoever
    said so takes it back or leaves."""
    for how in "ports", "spin", "chatter", "halt":
        v = Vmm("ends", how)
        with v.connect() as s:
            good = True
            for _ in range(30):
                good &= ask(s, "pause") == "ok"
                before = stats(s)
                good &= before["paused"] and before == stats(s)
                good &= ask(s, "resume") == "ok" and not stats(s)["paused"]
            ok(good, f"pause and resume: {how}")
            ask(s, "pause")
        with v.connect() as s:
            ok(not stats(s)["paused"], "who paused and left has resumed")
            ask(s, "pause")
            equal(ask(s, "quit"), "ok", "it can be ended while it is paused")
        v.check_end("quit")
        ok(os.path.getsize(v.dir + "/console.log") <= MIB,
           "its console is within bounds")


def case_control():
    v = Vmm("ends", "halt", options=["--vcpus", "2"])
    equal(v.ready, b"ready\n", "it says that it is ready")
    # Whoever asks last is served when those before have been dropped.
    last = v.connect()
    s = stats(last)
    before = v.descriptors()
    ok(s["vcpus"] == 2 and len(s["exits"]) == 2 and
       s["memory"] == RAM and not s["paused"] and
       s["refused"] == {"vsock0": 0, "rng1": 0, "balloon2": 0}, "stats")
    equal(json.loads(v.ask("stats\n"))["vcpus"], 2, "a newline does no harm")
    control_garbage(v)
    control_deaf(v)
    control_many(v)
    control_gifts(v)
    equal(ask(last, "resume"), "ok", "resume of what runs")
    equal(ask(last, "pause"), "ok", "pause")
    equal(ask(last, "pause"), "ok", "twice")
    equal(v.descriptors(), before, "no descriptor is left of all that")
    second_monitor(v)
    equal(ask(last, "quit"), "ok", "a guest that sleeps for ever can be ended")
    last.close()
    v.check_end("quit")
    v.check_log()


def control_garbage(v):
    with v.connect() as s:
        for text in b"x", b"\0", b"\xff" * 100, b"stats\0", b"statsx", b" ", \
                b"balloon", b"balloon x", b"%s%n%s%n", b"a" * 4096, \
                b"quit\0", b"QUIT":
            s.send(text)
            if not s.recv(65536).startswith(b"error: "):
                ok(False, f"{text[:20]} is refused")
        ok(True, "garbage is refused")
    with v.connect() as s:
        s.send(b"a" * 4097)
        equal(s.recv(65536), b"", "more than a request may have ends it")
    with v.connect() as s:
        s.send(b"")
        equal(s.recv(65536), b"", "an empty one too")


def control_deaf(v):
    """Who does not read its answers is dropped, and only that."""
    with v.connect() as s:
        s.setblocking(False)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 100000:
                try:
                    s.send(b"stats")
                    sent += 1
                except BlockingIOError:
                    select.select([], [s], [], LIMIT)
        ok(sent < 100000, "who does not read is dropped")
    ok(v.ask("stats"), "others are served")


def control_many(v):
    """More than are served at a time wait for those before them."""
    clients = [v.connect() for _ in range(40)]
    for c in clients:
        c.send(b"stats")
    good = True
    for c in clients:
        good &= c.recv(65536).startswith(b"{")
        c.close()
    ok(good, "40 clients, one after the other")


def control_gifts(v):
    """Descriptors that nobody asked for, and too few of those that are."""
    def give(s, request, n):
        s.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                               array.array("i", [0] * n))])
        return s.recv(65536)

    with v.connect() as s:
        ok(all(give(s, b"stats", n).startswith(b"{") for n in range(1, 17)),
           "descriptors that nobody asked for")
        ok(all(give(s, verb, n).startswith(b"error: ")
               for verb in (b"fork", b"snapshot") for n in (1, 2, 16)),
           "too few of them, or too many")
    for n in 17, 253:
        with v.connect() as s:
            equal(give(s, b"stats", n), b"", f"{n} are too many for anything")


def second_monitor(v):
    p = subprocess.run([monitor.program, "--dir", v.dir, "--kernel",
                        f"{monitor.guests}/ends.elf", *monitor.extra],
                       capture_output=True, text=True, check=False)
    ok(p.returncode == 1 and "a monitor is running" in p.stderr and
       p.stderr.count("\n") == 1, "a directory has one monitor")
    ok(v.ask("stats"), "which goes on")
