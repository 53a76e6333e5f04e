#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# A monitor without a machine, for tests of the programs around it: it keeps
# the run directory's rules (pid lock, ready line, sockets, "ended"), answers
# the first client's setup itself and hands every other to an agent of its own,
# a process on this machine.  FAKE_VMM says what is to go wrong:
#
#   early    an error line instead of "ready"
#   die      dies before "ready", with a word in its log
#   mute     never answers on vsock.sock
#   panic    writes to the console and ends when a client has connected
#   refuse   refuses the setup

import argparse
import array
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys

HELLO, OPEN, STARTED, FAILED, EXIT, EOF = 1, 16, 17, 18, 24, 20


def frame(kind, stream=0, payload=b"", channel=0):
    return struct.pack("<HBBI", len(payload), kind, channel, stream) + payload


def read_frame(conn):
    head = conn.recv(8, socket.MSG_WAITALL)
    if len(head) < 8:
        return None
    length, kind, channel, stream = struct.unpack("<HBBI", head)
    payload = conn.recv(length, socket.MSG_WAITALL) if length else b""
    return kind, channel, stream, payload


def answer_setup(conn, refuse, directory):
    conn.sendall(frame(HELLO, payload=struct.pack("<IHH", 0x616f7369, 1, 0)))
    request = b""
    while True:
        f = read_frame(conn)
        if f is None:
            return False
        kind, channel, stream, payload = f
        if kind != OPEN:
            continue
        request += payload
        if channel == 0:
            break
    with open(directory + "/setup", "wb") as out:
        out.write(request)
    if refuse:
        text = b"no such user 'nobody-here'"
        conn.sendall(frame(FAILED, stream, struct.pack("<I", 2) + text))
        return False
    conn.sendall(frame(STARTED, stream, struct.pack("<I", 0)))
    conn.sendall(frame(EXIT, stream, bytes(32)))
    return True


class Vmm:
    def __init__(self, opts):
        self.opts = opts
        self.agents = []
        self.fault = os.environ.get("FAKE_VMM", "")
        self.set_up = False
        self.idle_since = None

    def path(self, name):
        return os.path.join(self.opts.dir, name)

    def end(self, reason, detail=""):
        for a in self.agents:
            a.kill()
        if reason == "idle":
            os.ftruncate(self.scratch, 0)
        os.write(self.ended, (json.dumps({"reason": reason, "detail": detail})
                              + "\n").encode())
        sys.exit(0)

    def open(self):
        # The run directory gets another name when the sandbox is up.
        self.ended = os.open(self.path("ended"), os.O_WRONLY)
        self.scratch = os.open(self.opts.scratch, os.O_RDWR)
        self.rootfs = os.open(self.opts.rootfs, os.O_RDONLY)
        fcntl.flock(self.rootfs, fcntl.LOCK_SH)
        self.console = open(self.path("console.log"), "w", buffering=1)
        self.pid = os.open(self.path("vmm.pid"), os.O_RDWR | os.O_CREAT, 0o644)
        os.write(self.pid, b"%d\n" % os.getpid())
        fcntl.lockf(self.pid, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.vsock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here = os.open(self.opts.dir, os.O_RDONLY)
        os.fchdir(here)
        self.vsock.bind("vsock.sock")
        self.vsock.listen(128)
        self.control.bind("control.sock")
        self.control.listen(16)
        self.console.write("fake guest says hello\n")

    def client(self):
        conn, _ = self.vsock.accept()
        line = b""
        while not line.endswith(b"\n"):
            c = conn.recv(1)
            if not c:
                return
            line += c
        if line != b"CONNECT 1024\n":
            return
        if self.fault == "panic":
            self.console.write("Kernel panic - not syncing\n")
            self.end("reset")
        conn.sendall(b"OK 1073741824\n")
        if not self.set_up:
            self.set_up = answer_setup(conn, self.fault == "refuse", ".")
            return
        # Passed through and not handed over, so that the agent's HELLO cannot
        # come before the OK.
        self.agents.append(subprocess.Popen(
            [os.environ["FAKE_AGENT"], "--serve", str(conn.fileno())],
            pass_fds=[conn.fileno()], stdin=subprocess.DEVNULL))

    def asked(self, conn):
        request = conn.recv(4096)
        if request == b"quit":
            conn.send(b"ok\n")
            self.end("quit")
        if request == b"power-off":
            self.end("power-off")
        if request == b"idle":
            self.end("idle")
        if request == b"stats":
            conn.send(b"{}\n")

    def serve(self):
        child_ends, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *a: None)
        clients = []
        while True:
            wait = [self.control, child_ends] + clients
            if self.fault != "mute":
                wait.append(self.vsock)
            for f in select.select(wait, [], [])[0]:
                if f is self.vsock:
                    self.client()
                elif f is self.control:
                    clients.append(f.accept()[0])
                elif f == child_ends:
                    os.read(child_ends, 64)
                    self.agents = [a for a in self.agents if a.poll() is None]
                else:
                    clients.remove(f)
                    self.asked(f)


def main():
    p = argparse.ArgumentParser()
    for o in ("dir", "kernel", "initramfs", "cmdline", "rootfs",
              "scratch", "vcpus", "memory", "timeout", "uid", "ready"):
        p.add_argument("--" + o, required=True)
    opts = p.parse_args()
    vmm = Vmm(opts)
    ready = int(opts.ready)
    if vmm.fault == "die":
        print("iso-vmm: vCPU 0: triple fault at 0x1000", file=sys.stderr)
        sys.exit(1)
    if vmm.fault == "early":
        os.write(ready, b"cannot open /dev/kvm: Permission denied\n")
        sys.exit(1)
    vmm.open()
    os.write(ready, b"ready\n")
    os.close(ready)
    vmm.serve()


main()
