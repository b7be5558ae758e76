"""Readers that take a byte a second and headers that never end, next to honest clients."""

import argparse
import asyncio
import random
import socket

from harness import percentile, run, say, send, stream

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--slow", type=int, default=300, help="of each kind")
arguments.add_argument("--seconds", type=float, default=15.0)
options = arguments.parse_args()


async def honest(site, seconds):
    """Times between tokens, and for whole answers, of clients that behave."""
    waits, broken, chance = [], 0, random.Random(3)
    end = asyncio.get_running_loop().time() + seconds

    async def one(number):
        nonlocal broken
        while asyncio.get_running_loop().time() < end:
            result = await stream(site.port, site.ask(f"honest {number} {chance.random()}", 20))
            broken += not result.whole
            waits.append(result.seconds)

    await asyncio.gather(*(one(i) for i in range(16)))
    return waits, broken


async def slow_reader(site, number, over):
    """Asks for much, and takes a byte a second."""
    reader, writer = None, None
    try:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", site.port))
        import json
        body = json.dumps({**site.ask(f"slow {number}", 60), "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        await asyncio.get_running_loop().sock_sendall(raw, head + body)
        while not over.is_set():
            if not await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 1), 30):
                return
            await asyncio.sleep(1)
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        raw.close()


async def slowloris(site, over):
    """Sends a header line now and then, and never the last one. How many seconds until it is cut?"""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n")
        while not over.is_set():
            writer.write(b"x-a: b\r\n")
            await writer.drain()
            try:
                if await asyncio.wait_for(reader.read(100), 1):
                    return loop.time() - begun
                return loop.time() - begun
            except asyncio.TimeoutError:
                pass
    except OSError:
        return loop.time() - begun
    finally:
        writer.close()
    return None


async def main(site, verdicts):
    settings = ["model.slots=400", "model.sim_tokens_per_second=40"]
    here = site(2, settings, ["limits.header_timeout_seconds=5", "limits.write_timeout_seconds=10"])
    await here.ready()
    say(f"Honest clients alone for {options.seconds:.0f} s")
    alone, broken = await honest(here, options.seconds)
    memory_before = here.gateway.memory()
    print(f"    {len(alone)} answers, p50 {percentile(alone, 50):.3f} s, p99 {percentile(alone, 99):.3f} s")

    say(f"The same among {options.slow} readers of a byte a second and {options.slow} endless headers")
    over = asyncio.Event()
    slow = [asyncio.create_task(slow_reader(here, i, over)) for i in range(options.slow)]
    loris = [asyncio.create_task(slowloris(here, over)) for _ in range(options.slow)]
    highest = 0

    async def watch():
        nonlocal highest
        while True:
            highest = max(highest, here.gateway.memory())
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.5)
    among, broken = await honest(here, options.seconds)
    over.set()
    cut = await asyncio.gather(*loris)
    watching.cancel()
    for task in slow:
        task.cancel()
    print(f"    {len(among)} answers, p50 {percentile(among, 50):.3f} s, p99 {percentile(among, 99):.3f} s")
    each = (highest - memory_before) / (2 * options.slow)
    print(f"    memory: {memory_before >> 20} MiB before, at most {highest >> 20} MiB: {each / 1024:.0f} KiB a connection")
    verdicts.check(not broken, f"no honest client was harmed ({broken} broken)")
    verdicts.check(
        percentile(among, 99) <= 1.5 * percentile(alone, 99),
        f"their p99 is {percentile(among, 99) / percentile(alone, 99):.2f}x of what it was",
    )
    verdicts.check(each <= 128 << 10, "memory is bounded: at most 128 KiB for each slow connection")
    ended = [seconds for seconds in cut if seconds is not None]
    verdicts.check(len(ended) == len(cut), f"every endless header was cut, after {percentile(ended, 50):.1f} s (5 allowed)")


run(main)
