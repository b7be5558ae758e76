"""What the demonstrations share: services that can be killed, a gateway before them, and an HTTP client without dependencies.

Everything listens on free ports of loopback, keeps its files in a temporary directory and is gone at the end.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def binaries():
    """Where the programs are: LLMO_BIN_DIR, or where run_microservices.sh builds them."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    where = Path(os.environ.get("LLMO_BIN_DIR", target / "release"))
    for name in ("llmo-server", "llmo-gateway"):
        if not (where / name).is_file():
            sys.exit(f"error: {where / name} is missing\n       build it: ./run_microservices.sh build, or set LLMO_BIN_DIR")
    return where


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Process:
    """A program of ours, by its own process id."""

    def __init__(self, name, command, log, env=None):
        self.name, self.command, self.log = name, command, log
        self.env = {**os.environ, **(env or {})}
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, start_new_session=True
            )

    def signal(self, number):
        # The group: an engine has a process of its own.
        os.killpg(self.child.pid, number)

    def kill(self):
        if self.child.poll() is None:
            self.signal(signal.SIGKILL)
        self.child.wait()

    def terminate(self, wait=60):
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(wait)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def memory(self):
        """Resident bytes."""
        for line in open(f"/proc/{self.child.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


class Site:
    """Model services and a gateway in front of them."""

    def __init__(self, replicas=3, model=(), gateway=(), real=False, extra_env=None):
        self.dir = tempfile.TemporaryDirectory(prefix="llmo-show-")
        self.bin = binaries()
        self.model = "smollm2-135m" if real else "sim"
        self.processes = []
        ports = free_ports(replicas + 2)
        engine = [] if real else ["model.engine=sim"]
        settings = [f"model.names={self.model}", *engine, *model]
        self.services = [
            self.spawn(f"model-{i}", "llmo-server", ["model"], [f"model.port={port}", *settings], extra_env)
            for i, port in enumerate(ports[2:])
        ]
        self.ports = ports[2:]
        self.port, self.dashboard = ports[0], ports[1]
        upstreams = ",".join(f"http://127.0.0.1:{port}" for port in self.ports)
        self.gateway = self.spawn(
            "gateway",
            "llmo-gateway",
            [],
            [
                f"gateway.port={self.port}",
                f"gateway.dashboard_port={self.dashboard}",
                f"gateway.upstreams={upstreams}",
                "cache.backend=off",
                *gateway,
            ],
            extra_env,
        )

    def spawn(self, name, program, arguments, settings, env):
        command = [str(self.bin / program), *arguments]
        for setting in settings:
            command += ["--set", setting]
        process = Process(name, command, f"{self.dir.name}/{name}.log", env)
        self.processes.append(process)
        return process

    async def ready(self, replicas=None, limit=180):
        """Waits until so many replicas (all) can be used."""
        wanted = len(self.services) if replicas is None else replicas
        until = time.monotonic() + limit
        while time.monotonic() < until:
            if await self.usable() >= wanted:
                return
            if self.gateway.child.poll() is not None:
                break
            await asyncio.sleep(0.02)
        for process in self.processes:
            sys.stderr.write(f"--- {process.log}\n" + "".join(open(process.log).readlines()[-15:]))
        sys.exit(f"error: {wanted} replicas are not ready; the last lines of all logs are above")

    async def usable(self):
        return int(sum(v for k, v in (await self.metrics()).items() if k.startswith("llmo_backend_up{")))

    async def metrics(self, port=None):
        try:
            answer = await call("GET", port or self.port, "/metrics", timeout=5)
        except (OSError, asyncio.TimeoutError, Broken):
            return {}
        values = {}
        for line in answer.text.splitlines():
            match = re.match(r"([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", line)
            if match:
                values[match[1]] = float(match[2])
        return values

    async def taken_slots(self):
        """Requests in slots and queues of all services, as they tell themselves."""
        taken = 0
        for port in self.ports:
            status = json.loads((await call("GET", port, "/internal/status", timeout=5)).text)
            for model in status["models"]:
                load = model["load"]
                taken += load["slots"] - load["slots_free"] + load["queued_requests"]
        return taken

    def ask(self, prompt, tokens, **more):
        return {"model": self.model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, **more}

    def close(self):
        for process in self.processes:
            process.kill()
        self.dir.cleanup()


class Broken(Exception):
    """The connection ended before the answer did, or the answer is none."""


class Answer:
    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    @property
    def text(self):
        return self.body.decode()


async def send(method, port, path, body=None, headers=None):
    """Opens a connection and sends a request on it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", "connection: close", f"content-length: {len(data)}"]
    lines += ["content-type: application/json"] if data else []
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    await writer.drain()
    return reader, writer


async def read_head(reader):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError as error:
        raise Broken(f"no head: {error.partial[:80]!r}") from error
    first, *lines = head.split("\r\n")
    headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines if ":" in line)}
    return int(first.split()[1]), headers


async def read_chunks(reader, headers):
    """The body, piece by piece."""
    if headers.get("transfer-encoding") != "chunked":
        length = headers.get("content-length")
        yield await (reader.readexactly(int(length)) if length else reader.read())
        return
    while True:
        line = await reader.readline()
        if not line:
            raise Broken("the body ended early")
        size = int(line, 16)
        data = await reader.readexactly(size + 2)
        if size == 0:
            return
        yield data[:-2]


async def call(method, port, path, body=None, headers=None, timeout=60):
    """A whole answer."""

    async def whole():
        begun = time.monotonic()
        reader, writer = await send(method, port, path, body, headers)
        try:
            status, heads = await read_head(reader)
            pieces = [piece async for piece in read_chunks(reader, heads)]
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Broken(str(error)) from error
        finally:
            writer.close()
        return Answer(status, heads, b"".join(pieces), time.monotonic() - begun)

    return await asyncio.wait_for(whole(), timeout)


class Stream:
    """What came of a streamed completion."""

    def __init__(self):
        self.text, self.done, self.error, self.status = "", False, None, None
        self.first = self.seconds = None
        self.retry_after = None
        # Seconds between two pieces of output, and when the last one came.
        self.gaps, self.last = [], None

    @property
    def whole(self):
        return self.status == 200 and self.done and self.error is None


async def stream(port, body, headers=None, timeout=120):
    """Reads a streamed completion to its end, whatever that is."""
    result, begun = Stream(), time.monotonic()

    async def read():
        reader, writer = await send("POST", port, "/v1/completions", {**body, "stream": True}, headers)
        try:
            result.status, heads = await read_head(reader)
            result.retry_after = heads.get("retry-after")
            rest = b""
            async for piece in read_chunks(reader, heads):
                rest += piece
                *events, rest = rest.split(b"\n\n")
                for event in events:
                    take(event.decode(), result, begun)
            if result.status != 200:
                result.error = rest.decode()[:200]
        finally:
            writer.close()

    try:
        await asyncio.wait_for(read(), timeout)
    except (Broken, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        result.error = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - begun
    return result


def take(event, result, begun):
    for line in event.splitlines():
        if line == "data: [DONE]":
            result.done = True
        elif line.startswith("event: error"):
            result.error = event[:300]
        elif line.startswith("data: "):
            data = json.loads(line[6:])
            if "choices" in data:
                now = time.monotonic()
                if result.first is None:
                    result.first = now - begun
                else:
                    result.gaps.append(now - result.last)
                result.last = now
                result.text += "".join(choice.get("text", "") for choice in data["choices"])
            elif "error" in data:
                result.error = json.dumps(data["error"])[:300]


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else float("nan")


class Verdicts:
    """What was promised, and whether it was kept."""

    def __init__(self):
        self.failed = 0

    def check(self, kept, what):
        self.failed += not kept
        print(f"    {'ok    ' if kept else 'FAILED'}  {what}", flush=True)

    def end(self):
        print("all promises kept" if not self.failed else f"{self.failed} promises broken", flush=True)
        sys.exit(bool(self.failed))


def say(text):
    print(f"==> {text}", flush=True)


def run(main):
    """Runs a demonstration; what it started is gone afterwards, also after Ctrl-C."""
    verdicts = Verdicts()
    sites = []

    def site(*args, **kwargs):
        sites.append(Site(*args, **kwargs))
        return sites[-1]

    try:
        asyncio.run(main(site, verdicts))
    finally:
        for started in sites:
            started.close()
    verdicts.end()
