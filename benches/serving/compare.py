#!/usr/bin/env python3
"""llmo-server and llama-server side by side: same weights, same machine, same run, same load.

    cargo build --release -p llmo-server && cargo build --release -p llmo-benches --example serving_load
    benches/serving/compare.py [--quick] [--rounds 5] [--rows one,batch,...] [--json FILE] [--model MODEL.gguf]

All servers run all the time and are idle but for the one that is measured; each row asks them in turn, round after
round, and the table holds medians over the rounds. Prompts differ from round to round, so that no server remembers
one from an earlier round. Every request is greedy and streamed; tokens are those that a server says it made.
llama-server is built by benches/peers/build_llama_cpp.sh. Python's standard library only. Not for CI: it wants the machine
for itself, five to eight minutes with --quick.
"""

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOAD = TARGET / "release/examples/serving_load"
OURS = Path(os.environ.get("LLMO_SERVER", TARGET / "release/llmo-server"))
MODEL = Path.home() / ".local/share/llmo/models/smollm2-135m/model.gguf"
# Tokens that each of the peer's sequences holds, so that the long prompt of the row `prefill` fits.
PEER_CONTEXT = 5120
BEST_FLAGS = ["-np", "32", "-no-kvu", "-fa", "on", "-ctk", "q8_0", "-ctv", "q8_0", "-c", str(32 * PEER_CONTEXT)]

# Server, and how it is started. `ours` and `peer` are as their users get them.
SERVERS = ["ours", "ours-plain", "ours-int8", "peer", "peer-best"]


class Row:
    """One line of the table: what is asked of which servers, and which figure is compared."""

    def __init__(self, name, what, servers, load, quick, figure, goal, lower_is_better=False):
        self.name, self.what, self.servers, self.goal = name, what, servers, goal
        self.load, self.quick, self.figure, self.lower_is_better = load, quick, figure, lower_is_better


ROWS = [
    Row("one", "1 client, tokens/s of the stream", ["ours", "ours-plain", "ours-int8", "peer"],
        "streams --clients 1 --requests 4 --tokens 128 --words 48", "--requests 2",
        lambda r: r["stream_tokens_per_second"], "ours >= 1.0 x peer"),
    Row("sampled", "1 client at temperature 1, tokens/s of the stream", ["ours", "ours-plain", "peer"],
        "streams --clients 1 --requests 4 --tokens 128 --words 48 --temperature 1", "--requests 2",
        lambda r: r["stream_tokens_per_second"], "(for information)"),
    Row("ttft", "1 client, ms to the first token of 300 words", ["ours", "ours-int8", "peer"],
        "streams --clients 1 --requests 6 --tokens 2 --words 300", "--requests 3",
        lambda r: r["ttft_ms"]["p50"], "ours <= 1.0 x peer", lower_is_better=True),
    Row("batch", "32 clients, tokens/s", ["ours", "ours-plain", "ours-int8", "peer", "peer-best"],
        "streams --clients 32 --requests 2 --tokens 64 --words 32", "--requests 1",
        lambda r: r["tokens_per_second"], "ours >= 2.0 x peer, >= 1.1 x peer-best"),
    Row("shared", "8 clients, 600 shared words, 16 tokens each, tokens/s", ["ours", "peer", "peer-best"],
        "streams --clients 8 --requests 1 --tokens 16 --words 8 --shared 600", "",
        lambda r: r["tokens_per_second"], "ours >= 5 x peer"),
    Row("prefill", "8 streams: p99 gap while 4 000 tokens are read, in idle p99 gaps", ["ours", "peer-best"],
        "prefill --clients 8 --words 3000 --idle 3", "--idle 2",
        lambda r: r["reading_gap_ms"]["p99"] / r["idle_gap_ms"]["p99"], "ours <= 3", lower_is_better=True),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A running server."""

    def __init__(self, name, command, port, environment=None):
        self.name, self.address, self.model = name, f"127.0.0.1:{port}", ""
        self.log = tempfile.TemporaryFile()
        environment = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)

    def wait_until_ready(self):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(f"{self.name} ended: {self.log.read().decode(errors='replace')[-2000:]}")
            try:
                path = "readyz" if self.name.startswith("ours") else "health"
                with urllib.request.urlopen(f"http://{self.address}/{path}", timeout=5) as answer:
                    if answer.status == 200:
                        self.model = self.get("/v1/models")["data"][0]["id"]
                        return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"{self.name} did not become ready in five minutes")

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
            return json.load(answer)

    def resident_mib(self):
        """Of the process and its children: the engine may run in one of its own."""
        family, kib = [self.process.pid], 0
        while family:
            pid = family.pop()
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                for task in Path(f"/proc/{pid}/task").iterdir():
                    family += [int(c) for c in (task / "children").read_text().split()]
            except OSError:
                continue
            kib += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        return kib / 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def start(name, model, peer_bin, threads):
    port = free_port()
    if name.startswith("ours"):
        command = [str(OURS), "model", "--set", f"model.port={port}", "--set", f"model.path={model}",
                   "--set", "log.level=warn"]
        if threads:
            command += ["--set", f"model.threads={threads}"]
        # What the row `ours` would be without guessing ahead.
        extra = {"ours-plain": ["--set", "model.speculation=false"],
                 "ours-int8": ["--set", "model.int8=true", "--set", "model.int8_weights=always"]}.get(name, [])
        return Server(name, command + extra + os.environ.get("LLMO_FLAGS", "").split(), port)
    command = [str(peer_bin / "llama-server"), "-m", str(model), "--host", "127.0.0.1", "--port", str(port)]
    if threads:
        command += ["-t", str(threads)]
    return Server(name, command + (BEST_FLAGS if name == "peer-best" else []), port)


def load(server, arguments, seed):
    scenario, *rest = arguments.split()
    command = [str(LOAD), scenario, server.address, *rest, "--seed", str(seed), "--model", server.model]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if answer.returncode != 0:
        return {"failed": answer.stderr.strip()}
    return json.loads(answer.stdout)


def measure(row, servers, rounds, quick):
    arguments = row.load + " " + (row.quick if quick else "")
    results = {name: [] for name in row.servers}
    for round_ in range(rounds):
        # The order turns, so that nobody always has the warm machine.
        turn = round_ % len(row.servers)
        for name in row.servers[turn:] + row.servers[:turn]:
            report = load(servers[name], arguments, seed=100 + round_)
            if report.get("errors"):
                report["failed"] = report["errors"][0]
            if "failed" in report:
                print(f"  {row.name} {name}: {report['failed']}", file=sys.stderr)
            else:
                report["figure"] = row.figure(report)
            results[name].append(report)
    return results


def median(reports, key=lambda r: r["figure"]):
    figures = [key(report) for report in reports if "figure" in report]
    return statistics.median(figures) if figures else None


def churn(server, requests):
    """Memory after each quarter of the requests, and what is still occupied at the end."""
    load(server, "churn --requests 200 --clients 16", seed=1)
    resident, reports = [server.resident_mib()], []
    for quarter in range(4):
        reports.append(load(server, f"churn --requests {requests // 4} --clients 16", seed=2 + quarter))
        resident.append(server.resident_mib())
    time.sleep(2)
    report = {"resident_mib": resident, "reports": reports}
    if server.name.startswith("ours"):
        report["load"] = [model["load"] for model in server.get("/internal/status")["models"]]
    return report


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="ascii")
                  if line.startswith("model name")), "?")
    known = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"]
    flags = next((line.split() for line in open("/proc/cpuinfo", encoding="ascii") if line.startswith("flags")), [])
    return {"cpu": model, "cpus": os.cpu_count(), "features": [f for f in known if f in flags],
            "kernel": platform.release()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter loads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS) + ",churn")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--threads", type=int, default=0, help="of every server; by default each one's own choice")
    parser.add_argument("--churn", type=int, default=2000, help="requests of the row churn")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # So that the servers are stopped whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    for program in (OURS, LOAD):
        if not program.exists():
            sys.exit(f"{program} is missing: build it as the head of {Path(__file__).name} says")
    build = subprocess.run([ROOT / "benches/peers/build_llama_cpp.sh"], capture_output=True, text=True, check=True)
    peer_bin = Path(build.stdout.strip())

    asked = options.rows.split(",")
    wanted = options.servers.split(",")
    rows = [row for row in ROWS if row.name in asked]
    for row in rows:
        row.servers = [name for name in row.servers if name in wanted]
    names = [name for name in SERVERS if any(name in row.servers for row in rows)]
    if "churn" in asked and "ours" not in names:
        names.append("ours")
    servers, report = {}, {"machine": machine(), "rounds": options.rounds, "rows": {}}
    try:
        for name in names:
            servers[name] = start(name, options.model, peer_bin, options.threads)
        for server in servers.values():
            server.wait_until_ready()
            load(server, "streams --clients 4 --requests 1 --tokens 16 --words 100", seed=1)
        size = options.model.stat().st_size
        bandwidth = subprocess.run([LOAD, "bandwidth", "--bytes", str(size), "--threads", str(os.cpu_count())],
                                   capture_output=True, text=True, check=True)
        report["bandwidth"] = json.loads(bandwidth.stdout)
        print_machine(report, size)
        for row in rows:
            results = measure(row, servers, options.rounds, options.quick)
            report["rows"][row.name] = {"what": row.what, "goal": row.goal, "results": results}
            print_row(row, results)
        if "one" in report["rows"]:
            print_limit(report, size)
        if "churn" in asked:
            report["churn"] = churn(servers["ours"], options.churn)
            print_churn(report["churn"])
    finally:
        for server in servers.values():
            server.stop()
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))


def print_machine(report, size):
    m, b = report["machine"], report["bandwidth"]
    print(f"# {m['cpu']}, {m['cpus']} CPUs, {' '.join(m['features'])}; weights {size / 1e6:.1f} MB, "
          f"read at {b['median_gb_per_second']:.1f} GB/s; medians of {report['rounds']} rounds\n")
    print("| row | " + " | ".join(SERVERS) + " | ours/peer | ours/peer-best | goal |")
    print("|---|" + "---:|" * (len(SERVERS) + 2) + "---|")


def print_row(row, results):
    medians = {name: median(results.get(name, [])) for name in SERVERS}
    shown = [f"{medians[name]:.1f}" if medians[name] is not None else "-" for name in SERVERS]
    for peer in ("peer", "peer-best"):
        known = medians["ours"] is not None and medians[peer]
        shown.append(f"{medians['ours'] / medians[peer]:.2f}" if known else "-")
    print(f"| {row.what} | " + " | ".join(shown) + f" | {row.goal} |", flush=True)


def print_limit(report, size):
    """The share of the bandwidth limit: every token of a single stream reads all weights once."""
    limit = report["bandwidth"]["median_gb_per_second"] * 1e9 / size
    print(f"\nLimit of one stream by memory bandwidth: {limit:.0f} tokens/s.")
    for name, results in report["rows"]["one"]["results"].items():
        made = median(results)
        if made is not None:
            print(f"  {name}: {made / limit:.0%} of it")


def print_churn(report):
    resident = ", ".join(f"{mib:.0f}" for mib in report["resident_mib"])
    requests = sum(r.get("requests", 0) for r in report["reports"])
    errors = sum(r.get("errors", 0) for r in report["reports"])
    print(f"\n{requests} requests with random disconnects, {errors} errors: {resident} MiB resident")
    for load_ in report.get("load", []):
        print(f"  slots free {load_['slots_free']} of {load_['slots']}, queued {load_['queued_requests']}")


if __name__ == "__main__":
    main()
