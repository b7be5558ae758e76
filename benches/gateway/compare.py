#!/usr/bin/env python3
"""llmo-gateway next to nginx, haproxy, Traefik and smg: one run, one machine, the same load and the same canned upstream.

    cargo build --release --no-default-features -p llmo-gateway -p llmo-benches --bin llmo-gateway --example gateway_load
    benches/gateway/compare.py [--peers DIR] [--json FILE] [--seconds 5] [--rounds 3] [--only llmo,nginx]

Each gateway has one worker thread, pinned to the first processor; load and upstream share the second. Where they are busier
than the gateway, its own limit can't be seen from outside: so requests a second of the gateway's own processor time are given
too. Rounds alternate between gateways; figures are medians over rounds.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
LOAD = BUILT / "examples" / "gateway_load"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(cpu, command, **more):
    return subprocess.Popen(["taskset", "-c", str(cpu), *map(str, command)], **more)


class Gateway:
    """A gateway that runs, and what it takes of the machine."""

    def __init__(self, name, command, port, log, environment=None):
        self.name, self.port = name, port
        environment = {**os.environ, **(environment or {})}
        self.process = pinned(0, command, stdout=log, stderr=log, env=environment)

    def tree(self):
        pids, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            pids.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += [int(child) for child in task.read_text().split()]
        return pids

    def cpu_seconds(self):
        total = 0
        for pid in self.tree():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident(self):
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self.tree())

    def wait(self):
        body = json.dumps({"model": "canned", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4})
        for _ in range(300):
            try:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{self.port}/v1/chat/completions", body.encode(), {"content-type": "application/json"}
                )
                if json.load(urllib.request.urlopen(request, timeout=2))["choices"]:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"{self.name} does not answer; its log is in the working directory of this run")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def nginx(directory, port, upstreams):
    servers = " ".join(f"server 127.0.0.1:{each};" for each in upstreams)
    (directory / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.error.log warn;
worker_rlimit_nofile 16384; events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  keepalive_requests 100000000; client_body_buffer_size 64k; tcp_nodelay on;
  upstream model {{ {servers} keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}""")
    return ["/usr/sbin/nginx", "-p", directory, "-c", directory / "nginx.conf"], {}


def haproxy(directory, port, upstreams):
    servers = "\n".join(f"  server m{each} 127.0.0.1:{each}" for each in upstreams)
    (directory / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option http-keep-alive
frontend api
  bind 127.0.0.1:{port} backlog 4096
  default_backend model
backend model
{servers}
""")
    return ["/usr/sbin/haproxy", "-f", directory / "haproxy.cfg"], {}


def traefik(directory, port, upstreams):
    servers = ", ".join(f'{{url: "http://127.0.0.1:{each}"}}' for each in upstreams)
    (directory / "routes.yml").write_text(f"""
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: model}}}}
  services: {{model: {{loadBalancer: {{servers: [{servers}]}}}}}}
""")
    command = [
        PEERS / "bin/traefik", f"--entrypoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={directory}/routes.yml",
        "--serverstransport.maxidleconnsperhost=128", "--global.checknewversion=false", "--global.sendanonymoususage=false",
    ]
    return command, {"GOMAXPROCS": "1"}


def smg(directory, port, upstreams):
    command = [
        PEERS / "bin/smg", "launch", "--host", "127.0.0.1", "--port", port,
        "--worker-urls", *(f"http://127.0.0.1:{each}" for each in upstreams), "--policy", "power_of_two", "--prometheus-port", free_port(), "--log-level", "warn",
    ]
    return command, {"TOKIO_WORKER_THREADS": "1"}


def llmo(directory, port, upstreams, level="warn"):
    command = [LLMO]
    urls = ",".join(f"http://127.0.0.1:{each}" for each in upstreams)
    for setting in (
        f"gateway.port={port}", "gateway.dashboard_port=0", f"gateway.upstreams={urls}",
        "gateway.max_concurrent=4096", "cache.backend=off", f"log.level={level}",
    ):
        command += ["--set", setting]
    return command, {"TOKIO_WORKER_THREADS": "1"}


def llmo_logging(directory, port, upstreams):
    return llmo(directory, port, upstreams, "info")


def bare(directory, port, upstreams):
    """No peer: what any gateway on hyper that reads bodies whole could reach at most. It streams nothing, and knows one upstream."""
    return [LOAD, "bare", "--port", port, "--upstream", upstreams[0]], {}


GATEWAYS = {"llmo": llmo, "llmo-log": llmo_logging, "nginx": nginx, "haproxy": haproxy, "traefik": traefik, "smg": smg, "bare": bare}


def load(*arguments, during=None):
    process = pinned(1, [LOAD, *arguments], stdout=subprocess.PIPE, text=True)
    seen = during() if during else None
    out, _ = process.communicate(timeout=120)
    return (json.loads(out), seen) if out.strip() else (None, seen)


def figures(gateway, seconds, rate, direct):
    """One round of one gateway."""
    address, row = f"127.0.0.1:{gateway.port}", {}
    load("saturate", address, "--seconds", 1)
    before = gateway.cpu_seconds()
    answer, _ = load("saturate", address, "--seconds", seconds)
    used = gateway.cpu_seconds() - before
    row["per_second"] = answer["per_second"]
    row["busy"] = used / seconds
    row["per_cpu_second"] = answer["requests"] / used if used else None
    row["failed"] = answer["failed"]
    answer, _ = load("paced", address, "--rate", rate, "--seconds", seconds)
    row["failed"] += answer["failed"]
    for share in ("p50", "p99"):
        row[f"latency_{share}"] = answer["latency_us"][share]
        row[f"added_{share}"] = answer["latency_us"][share] - direct[share]
    return row


def streams(gateway, direct):
    idle = gateway.resident()

    def middle():
        time.sleep(5)
        return gateway.resident()

    answer, most = load("streams", f"127.0.0.1:{gateway.port}", "--count", 1000, "--tokens", 120, during=middle)
    return {
        "streams_failed": answer["failed"],
        "jitter_p99_ms": (answer["late_us"]["p99"] - direct["p99"]) / 1e3,
        "jitter_max_ms": answer["late_us"]["max"] / 1e3,
        "kb_a_stream": (most - idle) / 1000 / 1024,
    }


def main():
    global LLMO, PEERS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=ROOT / "run/peers", help="made by benches/peers/gateways.sh")
    parser.add_argument("--llmo", type=Path, default=BUILT / "llmo-gateway", help="another build of it")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=0, help="requests a second for latencies; 0: half of what llmo can do")
    parser.add_argument("--only", default=",".join(GATEWAYS))
    parser.add_argument("--no-streams", action="store_true")
    arguments = parser.parse_args()
    LLMO, PEERS = arguments.llmo, arguments.peers
    names, upstreams = arguments.only.split(","), [free_port(), free_port()]
    directory = Path(tempfile.mkdtemp(prefix="llmo-gateways-"))
    servers = [pinned(1, [LOAD, "upstream", "--port", port]) for port in upstreams]
    running, rows = {}, {name: [] for name in names}
    try:
        time.sleep(0.5)
        for name in names:
            port = free_port()
            home = directory / name
            home.mkdir()
            command, environment = GATEWAYS[name](home, port, upstreams)
            running[name] = Gateway(name, command, port, (directory / f"{name}.log").open("w"), environment)
        for gateway in running.values():
            gateway.wait()
        address = f"127.0.0.1:{upstreams[0]}"
        rate = arguments.rate
        if not rate:
            first = running.get("llmo") or next(iter(running.values()))
            rate = int(load("saturate", f"127.0.0.1:{first.port}", "--seconds", 2)[0]["per_second"] / 2)
        for turn in range(arguments.rounds):
            direct = load("paced", address, "--rate", rate, "--seconds", arguments.seconds)[0]["latency_us"]
            for name in names[turn % len(names):] + names[: turn % len(names)]:
                rows[name].append(figures(running[name], arguments.seconds, rate, direct))
        table = {
            name: {key: statistics.median(row[key] for row in of) for key in of[0] if of[0][key] is not None}
            for name, of in rows.items()
        }
        if not arguments.no_streams:
            direct = load("streams", address, "--count", 1000, "--tokens", 120)[0]["late_us"]
            for name in set(names) - {"bare"}:
                table[name] |= streams(running[name], direct)
    finally:
        for gateway in running.values():
            gateway.stop()
        for server in servers:
            server.terminate()
    if arguments.json:
        arguments.json.write_text(json.dumps({"rate": rate, "table": table}, indent=1))
    columns = [
        ("per_second", "req/s", "{:.0f}"), ("busy", "busy", "{:.2f}"), ("per_cpu_second", "req/cpu s", "{:.0f}"),
        ("added_p50", "+p50 µs", "{:.0f}"), ("added_p99", "+p99 µs", "{:.0f}"),
        ("latency_p50", "p50 µs", "{:.0f}"), ("latency_p99", "p99 µs", "{:.0f}"), ("failed", "failed", "{:.0f}"),
        ("jitter_p99_ms", "jitter p99 ms", "{:.2f}"), ("kb_a_stream", "KB/stream", "{:.1f}"), ("streams_failed", "cut", "{:.0f}"),
    ]
    print(f"latencies at {rate} requests/s; logs in {directory}")
    print("| gateway | " + " | ".join(title for _, title, _ in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(form.format(row[key]) if key in row else "–" for key, _, form in columns) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
