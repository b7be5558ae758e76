#!/usr/bin/env python3
"""One process against services: the same model, the same machine, the same load, in turns.

    cargo build --release -p llmo -p llmo-server -p llmo-gateway
    benches/comparison/compare.py [--rounds 3] [--bin target/release] [--engine real|sim] [--rebuild] [--json FILE [--resume]]

`mono` is `llmo up`; `services` are a gateway and a model, a cache and a storage service on the same host. Each round starts
one, measures it, kills parts of it, and stops it; then the other. The table holds medians over the rounds. Requests ask
past the response cache, so that all of them reach the model. With `--rebuild` also: how long cargo takes to build again
what a change of one file touches (dev profile, no llama.cpp). Python's standard library only. Not for CI: it wants the
machine for itself, about a minute and a half a round.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPERVISE = ROOT / "scripts/supervise.sh"
PATIENCE = 60
CLIENTS = 8


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Stack:
    """A running stack, each part under the same supervisor that users have."""

    def __init__(self, kind, options):
        self.kind, self.dir = kind, Path(tempfile.mkdtemp(prefix="llmo-compare-"))
        names = ["API_PORT", "DASHBOARD_PORT", "MODEL_SERVICE_PORT", "CACHE_SERVICE_PORT", "STORAGE_SERVICE_PORT"]
        ports = {name: str(free_port()) for name in names}
        self.port = int(ports["API_PORT"])
        # The same slots for both: by default they are chosen by the memory that is free at the moment.
        self.environment = os.environ | ports | {"LLMO_MODEL__SLOTS": str(2 * CLIENTS), "LLMO_MODEL__CONTEXT_LENGTH": "2048",
                                                 "LLMO_MODEL__TUNE": "off", "LLMO_LOG__LEVEL": "warn"}
        if options.engine == "sim":
            self.environment |= {"LLMO_MODEL__ENGINE": "sim", "LLMO_MODEL__NAMES": "sim", "LLMO_STORE__DIR": str(self.dir / "store"),
                                 "LLMO_MODEL__SIM_TOKENS_PER_SECOND": "200"}
        else:
            self.environment |= {"LLMO_MODEL__NAMES": options.model}
        # No answer shall end early: SmolLM2's two tokens that end one. The simulator has none.
        self.endless = {} if options.engine == "sim" else {"logit_bias": {"0": -100, "2": -100}}
        programs, remote = options.bin, ["--preset", "cache.backend=remote"]
        self.parts = {"mono": {"mono": [programs / "llmo", "up"]}, "services": {
            "storage": [programs / "llmo-server", "store"], "cache": [programs / "llmo-server", "cache"],
            "model": [programs / "llmo-server", "model"], "gateway": [programs / "llmo-gateway", *remote]}}[kind]
        self.supervisors = {}

    def start(self):
        """Seconds until it is ready, and until the first answer is there."""
        begin = time.monotonic()
        for name, command in self.parts.items():
            with (self.dir / f"{name}.log").open("wb") as log:
                self.supervisors[name] = subprocess.Popen([SUPERVISE, self.dir, name, *command], env=self.environment,
                                                          cwd=self.dir, stdout=log, stderr=log, start_new_session=True)
        self.wait(lambda: self.get("/readyz") == 200, "ready")
        ready = time.monotonic() - begin
        self.complete("The first question", 1)
        return ready, time.monotonic() - begin

    def wait(self, condition, what):
        limit = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > limit:
                logs = "".join(f"--- {log.name}\n{log.read_text()[-2000:]}\n" for log in self.dir.glob("*.log"))
                sys.exit(f"{self.kind} is not {what} after {PATIENCE} s\n{logs}")
            time.sleep(0.005)

    def stop(self):
        for name in reversed(self.supervisors):
            self.supervisors[name].terminate()
        for supervisor in self.supervisors.values():
            supervisor.wait(45)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path):
        try:
            connection = self.connect()
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None

    def complete(self, prompt, tokens, connection=None):
        """A completion, not from the cache and not kept there. Its status and its body."""
        connection = connection or self.connect()
        body = json.dumps({"prompt": prompt, "max_tokens": tokens, "temperature": 0, **self.endless})
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json", "cache-control": "no-store"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def pid(self, name):
        return int((self.dir / f"{name}.pid").read_text())

    def processes(self):
        """Ids of all services and of what they started: engines."""
        children = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                children.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
            except OSError:
                pass
        todo, found = [self.pid(name) for name in self.parts], []
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def engine(self):
        """The process that the engine is in."""
        if self.kind == "mono":
            return self.pid("mono")
        return max(p for p in self.processes() if p == self.pid("model") or parent(p) == self.pid("model"))


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def pss_mib(pid):
    """Memory of a process, pages that it shares divided among those who do."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def latency_ms(stack, count):
    """Of requests for one token, one after the other on one connection."""
    connection, times = stack.connect(), []
    for n in range(count):
        begin = time.perf_counter()
        status, body = stack.complete(f"{n} is a number", 1, connection)
        times.append((time.perf_counter() - begin) * 1e3)
        assert status == 200, body
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.95)]


def tokens_per_second(stack, seconds):
    """Of `CLIENTS` clients together, each asking again as soon as it has its answer."""
    end, made, lock = time.monotonic() + seconds, [0], threading.Lock()

    def client(number):
        connection, n = stack.connect(), 0
        while time.monotonic() < end:
            n += 1
            status, body = stack.complete(f"Client {number} tells story {n}:", 64, connection)
            assert status == 200, body
            with lock:
                made[0] += json.loads(body)["usage"]["completion_tokens"]

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client, number) for number in range(CLIENTS)]:
            done.result()
    return made[0] / (time.monotonic() - begin)


def stream_is_whole(stack, number, started):
    """Reads a stream to its end: did it come as it should?"""
    try:
        connection = stack.connect()
        body = json.dumps({"prompt": f"The long story number {number}:", "max_tokens": 400, "temperature": 0,
                           "stream": True, **stack.endless})
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json", "cache-control": "no-store"})
        answer = connection.getresponse()
        text = answer.read1(64)
        started.release()
        while piece := answer.read1(65536):
            text += piece
        return text.rstrip().endswith(b"data: [DONE]")
    except (OSError, http.client.HTTPException):
        started.release()
        return False


def crash(stack, pid):
    """Kills a process under `CLIENTS` streams. How many broke, and seconds until there is an answer again.

    SIGABRT is what llama.cpp dies of. (Rust's runtime forgives a SIGSEGV that no instruction caused.)
    """
    started = threading.Semaphore(0)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        streams = [pool.submit(stream_is_whole, stack, number, started) for number in range(CLIENTS)]
        for _ in range(CLIENTS):
            started.acquire(timeout=PATIENCE)
        if any(stream.done() for stream in streams):
            sys.exit("a stream was over, or refused, before anything was killed: nothing can be learnt from that")
        os.kill(pid, signal.SIGABRT)
        begin = time.monotonic()

        def answered():
            try:
                return stack.complete(f"Are you there? {time.monotonic()}", 1)[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        time.sleep(0.05)
        stack.wait(answered, "back")
        back = time.monotonic() - begin
        broken = sum(not stream.result() for stream in streams)
    return broken, back


def measure(kind, options):
    stack = Stack(kind, options)
    row = {}
    try:
        row["ready_s"], row["first_answer_s"] = stack.start()
        latency_ms(stack, 20)
        row["idle_memory_mib"] = sum(map(pss_mib, stack.processes()))
        row["p50_ms"], row["p95_ms"] = latency_ms(stack, options.requests)
        row["tokens_per_s"] = tokens_per_second(stack, options.seconds)
        row["memory_mib"] = sum(map(pss_mib, stack.processes()))
        row["processes"] = len(stack.processes())
        # The simulator's answers are too short, and it has no engine of its own.
        if options.engine == "real":
            row["engine_crash_broken"], row["engine_crash_back_s"] = crash(stack, stack.engine())
        if options.engine == "real" and kind == "services":
            time.sleep(1)
            row["gateway_crash_broken"], row["gateway_crash_back_s"] = crash(stack, stack.pid("gateway"))
    finally:
        stack.stop()
    return row


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rebuild():
    """Seconds of `cargo build` after a change of one file, per file and program: by the clock, and of processors.

    Nothing of llama.cpp is touched.
    """
    programs = {"gateway": ["-p", "llmo-gateway", "--bin", "llmo-gateway"], "model service": ["-p", "llmo-server", "--bin", "llmo-server"],
                "mono": ["-p", "llmo", "--bin", "llmo"]}
    files = {"gateway": "llmo-gateway/src/policy/round_robin.rs", "services": "llmo-server/src/services/model/status.rs",
             "core": "llmo-core/src/model/load.rs"}
    build = ["cargo", "build", "--locked", "--no-default-features", "--quiet"]
    times = {}
    for program in programs.values():
        subprocess.run([*build, *program], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    for changed, file in files.items():
        for name, program in programs.items():
            # Again for each program: what the one before has compiled counts for nothing.
            (ROOT / file).touch()
            begin, before = time.monotonic(), cpu_seconds()
            subprocess.run([*build, *program], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
            times[f"{name} after a change of {changed}"] = time.monotonic() - begin, cpu_seconds() - before
    return times


ROWS = [
    ("p50_ms", "answer of one token, median", "{:.2f} ms"), ("p95_ms", "… 95th percentile", "{:.2f} ms"),
    ("tokens_per_s", f"{CLIENTS} clients, together", "{:.0f} tokens/s"),
    ("idle_memory_mib", "memory, idle (PSS)", "{:.0f} MiB"), ("memory_mib", "memory, after the load (PSS)", "{:.0f} MiB"),
    ("processes", "processes", "{:.0f}"), ("ready_s", "cold start: ready", "{:.2f} s"),
    ("first_answer_s", "cold start: first answer", "{:.2f} s"),
    ("engine_crash_broken", f"SIGABRT in the engine: broken streams of {CLIENTS}", "{:.0f}"),
    ("engine_crash_back_s", "… next answer after", "{:.2f} s"),
    ("gateway_crash_broken", f"SIGABRT in the gateway: broken streams of {CLIENTS}", "{:.0f}"),
    ("gateway_crash_back_s", "… next answer after", "{:.2f} s"),
]


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bin", type=Path, default=target / "release")
    parser.add_argument("--engine", choices=["real", "sim"], default="real")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rebuild", action="store_true", help="also time builds after a change (--rounds 0: nothing else)")
    parser.add_argument("--json", type=Path, help="keeps all figures, written after each measurement")
    parser.add_argument("--resume", action="store_true", help="go on after what the --json file has already")
    options = parser.parse_args()

    # So that nothing goes on running when this is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = {"mono": [], "services": []}
    if options.resume and options.json and options.json.exists():
        rounds = json.loads(options.json.read_text())["rounds"]
    for number in range(options.rounds):
        # Who goes first changes: a machine that gets warmer or busier must not favour one.
        for kind in sorted(rounds, reverse=number % 2 == 1):
            if len(rounds[kind]) > number:
                continue
            rounds[kind].append(measure(kind, options))
            print(f"round {number + 1}, {kind}: {json.dumps(rounds[kind][-1])}", file=sys.stderr, flush=True)
            keep(options, rounds, {})
    if options.rounds:
        print_table(rounds, options)
    builds = rebuild() if options.rebuild else {}
    if builds:
        print("\n| `cargo build` (dev, no llama.cpp) | seconds | processor seconds |\n|---|---|---|")
        for what, (seconds, busy) in builds.items():
            print(f"| {what} | {seconds:.1f} | {busy:.1f} |")
    keep(options, rounds, builds)


def keep(options, rounds, builds):
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "rebuild": builds}, indent=1))


def print_table(rounds, options):
    middle = {kind: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for kind, rows in rounds.items()}
    print(f"\n| {options.engine}, medians of {options.rounds} | one process | services |\n|---|---|---|")
    for key, title, form in (row for row in ROWS if row[0] in middle["services"]):
        cells = [form.format(middle[kind][key]) if key in middle[kind] else "–" for kind in ("mono", "services")]
        print(f"| {title} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
