# SPDX-License-Identifier: MIT
"""A monitor with a guest of tests/guests, and what can be said of it."""
import json
import os
import re
import resource
import select
import shutil
import socket
import subprocess
import tempfile

MIB = 1 << 20
RAM = 32 * MIB
# Seconds for what should come by itself.  Passed only when something is wrong.
LIMIT = 60

# Set by guest.py: the program, its further arguments, the guests' directory,
# and the name of the case at hand.
program = ""
extra = []
guests = ""
case = ""


def ok(good, text):
    print("ok -" if good else "not ok -", f"{case}: {text}", flush=True)
    return good


def remark(text):
    print("#", text.replace("\n", "\n# "), flush=True)


def equal(got, want, text):
    if not ok(got == want, text):
        remark(f"got {got!r}, expected {want!r}")


def skip(why):
    print(f"skip - {case}: {why}", flush=True)


def noise(n):
    return os.urandom(n)


def ask(s, request):
    """A request on the control socket @s."""
    s.send(request.encode())
    return s.recv(65536).decode()


class Vmm:
    """A running iso-vmm, and its files."""

    all = []

    def __init__(self, guest, args="", memory=RAM, options=(), root=None,
                 scratch=None, fds=()):
        self.tmp = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
        self.dir = self.tmp + "/run"
        os.mkdir(self.dir)
        command = [program, "--dir", self.dir, "--kernel",
                   f"{guests}/{guest}.elf", "--cmdline", args,
                   "--memory", str(memory), *options, *extra]
        if root is not None:
            command += ["--rootfs", self.file("root", root)]
        if scratch is not None:
            command += ["--scratch", self.file("scratch", scratch)]
        ready, out = os.pipe()
        command += ["--ready", str(out)]
        with open(self.dir + "/vmm.log", "wb") as log:
            self.process = subprocess.Popen(
                command, stderr=log, stdin=subprocess.DEVNULL,
                pass_fds=(out, *fds))
        self.all.append(self)
        os.close(out)
        self.pidfd = os.pidfd_open(self.process.pid)
        with open(ready, "rb") as f:
            self.ready = f.read()
        self.status = None

    def file(self, name, data):
        path = f"{self.tmp}/{name}"
        with open(path, "wb") as f:
            f.write(data)
        return path

    def read(self, name):
        try:
            with open(f"{self.dir}/{name}", "rb") as f:
                return f.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def wait(self):
        """Until it has ended; False when it had to be killed."""
        good = bool(select.select([self.pidfd], [], [], LIMIT)[0])
        if not good:
            self.process.kill()
        self.status = self.process.wait()
        return good

    def end(self):
        if self.status is None:
            self.process.kill()
            self.process.wait()
        os.close(self.pidfd)
        shutil.rmtree(self.tmp)

    def connect(self, name="control.sock", kind=socket.SOCK_SEQPACKET):
        s = socket.socket(socket.AF_UNIX, kind)
        s.settimeout(LIMIT)
        s.connect(f"{self.dir}/{name}")
        return s

    def ask(self, request):
        with self.connect() as s:
            return ask(s, request)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # ---- what came of it ----

    def check_end(self, reason, status=0, detail=""):
        if not ok(self.wait(), "it ends"):
            remark(f"console: {self.read('console.log')[-500:]!r}")
        try:
            ended = json.loads(self.read("ended"))
        except ValueError:
            ended = {"reason": None, "detail": ""}
        good = (ended["reason"] == reason and self.status == status and
                re.search(detail, ended["detail"]))
        if not ok(good, f"by {reason}, status {status}"):
            remark(f"ended: {ended}, status {self.status}")
            remark("log: " + self.read("vmm.log")[-2000:])
        last = self.read("vmm.log").splitlines()[-1:]
        ok(last and reason in last[0] and ended["detail"] in last[0],
           "which the log says last")

    def check_console(self):
        """The guest's own tests."""
        text = self.read("console.log")
        plan = re.search(r"^1\.\.(\d+)$", text, re.M)
        good = re.findall(r"^ok (\d+) - ", text, re.M)
        bad = re.findall(r"^not ok \d+ - .*\n(?:# got.*)?", text, re.M)
        bail = re.findall(r"^(?:Bail|# exception).*", text, re.M)
        if not ok(plan and len(good) == int(plan[1]) and not bad + bail,
                  f"the guest's {len(good) + len(bad)} tests"):
            for line in bad + bail:
                remark(line)
            remark("last of the console: " + text[-300:])

    def told(self, name):
        m = re.search(rf"^# {name}: (\d+)$", self.read("console.log"), re.M)
        return int(m[1]) if m else None

    def check_log(self, device=(), rules=(), other=()):
        """Everything refused is in the log or counted there, @rules by name,
        and nothing is said but that, @other and the end.  @device: the names of
        those that may have refused something."""
        lines = self.read("vmm.log").splitlines()
        rule = re.compile(r"iso-vmm: (?:\((\d+) lines left out\) )?(\w+): "
                          r"the driver broke a rule \((.*)\)")
        found = [m for m in map(rule.match, lines) if m]
        left = sum(int(n) for n in re.findall(r"\((\d+) lines left out\)",
                                              "\n".join(lines)))
        refused = self.told("refused")
        if refused is not None:
            equal(len(found) + left, refused,
                  "the log has every rule that was broken, or counts it")
        names = {m[3] for m in found}
        if rules:
            equal(names & set(rules), set(rules), f"{len(set(rules))} by name")
        ok(all(m[2] in device for m in found), "and the right device")
        rest = [l for l in lines[:-1] if not rule.match(l) and
                not any(o in l for o in other)]
        equal(rest, [], "nothing else")

    def check_size(self, mib=160):
        """Of the largest of our children so far."""
        if "/san/" in program:
            return
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        if not ok(used < mib, "it stays small"):
            remark(f"{used} MiB, expected less than {mib}")

    def check(self, device=(), rules=(), other=()):
        self.check_end("power-off")
        self.check_console()
        self.check_log(device, rules, other)
        self.check_size()
