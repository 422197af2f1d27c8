#!/usr/bin/env python3
"""soak.py SECONDS SEED: see tests/soak.sh."""
import collections
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SECONDS, SEED = float(sys.argv[1]), int(sys.argv[2])
VLOCK = os.environ["VLOCK_BIN"]
WORKERS = int(os.environ.get("SOAK_WORKERS", "12"))
SECTION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "section.sh")
DIR = tempfile.mkdtemp(prefix="vlock-soak.")
MARK = f"SOAK_MARK={os.getpid()}.{time.time():.0f}"
TTL = float(os.environ.get("SOAK_TTL", "3"))
NAMES = ["a", "b", "c"]
# What becomes of a run, and how often.
DEEDS = {"plain": 10, "stray": 4, "deaf": 2, "daemon": 3, "front": 8, "guard": 6, "both": 3,
         "group": 2, "term": 3, "stop": 2}
done = collections.Counter()
counting = threading.Lock()
troubles = []


def count(what):
    with counting:
        done[what] += 1


def trouble(text):
    with counting:
        troubles.append(text)


def kill(number, *pids):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def guards_of(pid):
    found = []
    try:
        for child in open(f"/proc/{pid}/task/{pid}/children").read().split():
            if open(f"/proc/{child}/comm").read().strip() == "lock-guard":
                found.append(int(child))
    except OSError:
        pass
    return found


class Server:
    """A server with an append-only file, that can be frozen, killed and started again."""

    def __init__(self):
        self.lock = threading.Lock()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "valkey-server", "--bind", "127.0.0.1", "--port",
             str(self.port), "--save", "", "--appendonly", "yes", "--appendfsync", "always",
             "--dir", DIR], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        end = time.time() + 60
        while self.ask("PING") != "+PONG":
            if time.time() > end or self.process.poll() is not None:
                raise SystemExit("the server does not start")
            time.sleep(0.02)

    def ask(self, *words):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as it:
                it.sendall((" ".join(words) + "\r\n").encode())
                return it.recv(4096).decode().strip()
        except OSError:
            return ""

    def freeze(self, seconds):
        kill(signal.SIGSTOP, self.process.pid)
        time.sleep(seconds)
        kill(signal.SIGCONT, self.process.pid)

    def restart(self, seconds):
        self.process.kill()
        self.process.wait()
        time.sleep(seconds)
        self.start()


class Crowd:
    """Those that want the locks of one store."""

    def __init__(self, store, url):
        self.store, self.url, self.over = store, url, False
        self.dir = os.path.join(DIR, store + ".sections")
        os.mkdir(self.dir)
        for name in NAMES:
            self.write(name + ".count", "0\n")
        rand = random.Random(f"{SEED} {store}")
        self.threads = [threading.Thread(target=self.work, args=(rand.random(),), daemon=True)
                        for _ in range(WORKERS // 2)]
        for thread in self.threads:
            thread.start()

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as file:
            file.write(text)

    def lines(self, name):
        try:
            return open(os.path.join(self.dir, name)).read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def work(self, seed):
        rand = random.Random(seed)
        while not self.over:
            deed = rand.choices(list(DEEDS), list(DEEDS.values()))[0]
            # After a SIGKILL of both what CMD had started lives on: it must be over soon.
            seconds = rand.choice([0, 0.01, 0.05]) if deed == "both" else \
                rand.choice([0, 0.01, 0.05, 0.1, 0.3])
            self.run(rand.choice(NAMES), deed, seconds, rand.choice([0, 0.02, 0.1, 0.3, 1.0]))

    def run(self, name, deed, seconds, after):
        command = ["setpriv", "--pdeathsig", "KILL", VLOCK, "-q", "-u", self.url, "run", "-w",
                   "20s", "-t", f"{TTL}s", "--kill-after", "200ms", name, "--",
                   "sh", SECTION, self.dir, name, str(seconds), deed]
        mark = dict([MARK.split("=")])
        it = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env={**os.environ, **mark},
                              start_new_session=True)
        if deed in ("front", "guard", "both", "group", "term", "stop"):
            time.sleep(after)
            self.disturb(it, deed)
        try:
            it.wait(120)
        except subprocess.TimeoutExpired:
            trouble(f"{self.store}: a vlock ({deed}) did not end within 2 minutes")
            it.kill()
            it.wait()
        count(f"status {it.returncode}")

    def disturb(self, it, deed):
        guards = guards_of(it.pid)
        if it.poll() is not None:
            return
        if deed == "front":
            kill(signal.SIGKILL, it.pid)
        elif deed == "guard":
            kill(signal.SIGKILL, *guards)
        elif deed == "both":
            kill(signal.SIGKILL, it.pid, *guards)
        elif deed == "group":
            os.killpg(it.pid, signal.SIGKILL)
        elif deed == "term":
            kill(signal.SIGTERM, it.pid)
        elif deed == "stop":
            kill(signal.SIGSTOP, it.pid)
            time.sleep(0.5)
            kill(signal.SIGCONT, it.pid)
        count(deed)

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join()

    def judge(self):
        for line in self.lines("overlaps"):
            count("overlaps")
            trouble(f"{self.store}: overlap: {line}")
        for name in NAMES:
            began, ended = self.lines(name + ".began"), self.lines(name + ".ended")
            with counting:
                done[self.store] += len(began)
            fences = [int(line.split()[0]) for line in began]
            for i in range(1, len(fences)):
                if fences[i] <= fences[i - 1]:
                    trouble(f"{self.store}: {name}: fence {fences[i]} after {fences[i - 1]}")
            total = int(self.lines(name + ".count")[0])
            # One that was killed may have counted and not have said so.
            if not len(ended) <= total <= len(began):
                trouble(f"{self.store}: {name}: counted to {total}, {len(ended)} to {len(began)}"
                        " sections ran: increments were lost")
            self.until_free(name)

    def until_free(self, name):
        status = subprocess.run([VLOCK, "-q", "-u", self.url, "wait", "-w", "60s", name]).returncode
        if status != 0:
            trouble(f"{self.store}: {name} was never given back (status {status})")


def marked():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if MARK.encode() in open(f"/proc/{pid}/environ", "rb").read().split(b"\0"):
                found.append((int(pid), open(f"/proc/{pid}/cmdline").read().replace("\0", " ")))
        except OSError:
            pass
    return found


def nothing_left():
    """What a SIGKILL of both left behind is not vlock's to stop: it ends within a moment."""
    end = time.time() + 40
    while marked() and time.time() < end:
        time.sleep(0.1)
    for pid, what in marked():
        trouble(f"left behind: {pid} {what}")
        kill(signal.SIGKILL, pid)


def trouble_the_server(server, rand, until):
    deeds = []
    while time.time() < until:
        deeds = deeds or rand.sample(["cut", "short", "cut", "long", "restart", "cut"], 6)
        deed = deeds.pop()
        time.sleep(rand.uniform(0.2, 1.5))
        if deed == "cut":
            server.ask("CLIENT KILL TYPE normal")
        elif deed == "short":
            server.freeze(rand.uniform(0.05, 0.8))
        elif deed == "long":
            server.freeze(rand.uniform(1.1, 1.6) * TTL)
        else:
            server.restart(rand.uniform(0, 0.5))
        count({"cut": "cuts", "short": "freezes", "long": "freezes", "restart": "restarts"}[deed])


def main():
    print(f"soak: {SECONDS:.0f} s, seed {SEED}", flush=True)
    began = time.time()
    os.mkdir(f"{DIR}/locks", 0o700)
    server = Server()
    crowds = [Crowd("local", f"local:{DIR}/locks"),
              Crowd("server", f"valkey://127.0.0.1:{server.port}")]
    trouble_the_server(server, random.Random(SEED), began + SECONDS)
    for crowd in crowds:
        crowd.over = True
    for crowd in crowds:
        crowd.end()
    nothing_left()
    for crowd in crowds:
        crowd.judge()
    server.process.kill()
    server.process.wait()
    for text in troubles:
        print("soak:", text)
    print("soak: ends:", ", ".join(f"{n} x {k[7:]}" for k, n in sorted(done.items())
                                   if k.startswith("status ")))
    print(f"soak: {done['local'] + done['server']} sections ran ({done['local']} local, "
          f"{done['server']} on a server), {done['overlaps']} overlaps; SIGKILL of "
          f"{done['front']} vlocks, {done['guard']} guards, {done['both']} of both, "
          f"{done['group']} groups; {done['cuts']} cuts, {done['freezes']} freezes, "
          f"{done['restarts']} restarts of the server; {time.time() - began:.0f} s")
    sys.exit(1 if troubles or not done["local"] or not done["server"] else 0)


# Whoever stops it stops all of it: the vlocks die with their threads, and stop what they started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    main()
finally:
    shutil.rmtree(DIR, ignore_errors=True)
