"""Readers that take a byte a second and headers that never end, next to honest clients."""

import argparse
import asyncio
import json
import random
import socket

from harness import percentile, run, say, send, stream

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--slow", type=int, default=300, help="of each kind")
arguments.add_argument("--seconds", type=float, default=15.0)
options = arguments.parse_args()
SPEED, WRITE_TIMEOUT = 20, 5


async def honest(site, seconds):
    """Times between tokens, and for whole answers, of clients that behave."""
    waits, gaps, broken, chance = [], [], 0, random.Random(3)
    end = asyncio.get_running_loop().time() + seconds

    async def one(number):
        nonlocal broken
        while asyncio.get_running_loop().time() < end:
            result = await stream(site.port, site.ask(f"honest {number} {chance.random()}", 20))
            broken += not result.whole
            waits.append(result.seconds)
            gaps.extend(result.gaps)

    await asyncio.gather(*(one(i) for i in range(16)))
    print(f"    {len(waits)} answers, p50 {percentile(waits, 50):.3f} s, p99 {percentile(waits, 99):.3f} s; "
          f"between tokens p50 {1e3 * percentile(gaps, 50):.1f} ms, p99 {1e3 * percentile(gaps, 99):.1f} ms")
    return waits, gaps, broken


async def slow_reader(site, number):
    """Asks for much more than fits into any buffer, and takes a byte a second."""
    await asyncio.sleep(RAMP * number / options.slow)
    loop, raw = asyncio.get_running_loop(), socket.socket()
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", site.port))
        body = json.dumps({**site.ask(f"slow {number}", 4000), "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        await loop.sock_sendall(raw, head + body)
        # What was sent can still be read when the sender is long gone: whether it is, its services tell.
        while await loop.sock_recv(raw, 1):
            await asyncio.sleep(1)
    except OSError:
        pass
    finally:
        raw.close()


async def slowloris(site, number, over):
    """Sends a header line now and then, and never the last one. How many seconds until it is cut?"""
    await asyncio.sleep(RAMP * number / options.slow)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n")
        while not over.is_set():
            writer.write(b"x-a: b\r\n")
            await writer.drain()
            try:
                # Whatever it is, the answer or the end: the connection is over.
                await asyncio.wait_for(reader.read(100), 1)
                return loop.time() - begun
            except asyncio.TimeoutError:
                pass
    except OSError:
        return loop.time() - begun
    finally:
        writer.close()
    return None


# They come one by one in the first third: what is shown is what they cost, not what 600 connections in a moment do.
RAMP = options.seconds / 3


async def main(site, verdicts):
    settings = ["model.slots=400", f"model.sim_tokens_per_second={SPEED}", "model.context_length=8192"]
    limits = ["limits.header_timeout_seconds=5", f"limits.write_timeout_seconds={WRITE_TIMEOUT}"]
    here = site(2, settings, limits)
    await here.ready()
    say(f"Honest clients alone for {options.seconds:.0f} s")
    alone, gaps_alone, _ = await honest(here, options.seconds)
    memory_before = here.gateway.memory()

    say(f"The same among {options.slow} readers of a byte a second and {options.slow} endless headers")
    over = asyncio.Event()
    slow = [asyncio.create_task(slow_reader(here, i)) for i in range(options.slow)]
    loris = [asyncio.create_task(slowloris(here, i, over)) for i in range(options.slow)]
    highest = 0

    async def watch():
        nonlocal highest
        while True:
            highest = max(highest, here.gateway.memory())
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    among, gaps_among, broken = await honest(here, options.seconds)
    over.set()
    cut = await asyncio.gather(*loris)
    # The last reader came after a third of the time; its buffers were full a little later.
    left = await here.taken_slots()
    watching.cancel()
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    each = (highest - memory_before) / (2 * options.slow)
    print(f"    memory: {memory_before >> 20} MiB before, at most {highest >> 20} MiB: {each / 1024:.0f} KiB a connection")
    verdicts.check(not broken, f"no honest client was harmed ({broken} broken)")
    verdicts.check(
        percentile(among, 99) <= 1.5 * percentile(alone, 99),
        f"their p99 is {percentile(among, 99) / percentile(alone, 99):.2f}x of what it was",
    )
    worse = percentile(gaps_among, 99) / percentile(gaps_alone, 99)
    verdicts.check(worse <= 1.5, f"their p99 between tokens is {worse:.2f}x of what it was")
    verdicts.check(each <= 64 << 10, "memory is bounded: at most 64 KiB for each slow connection")
    verdicts.check(left == 0, f"every slow reader was cut, and its slot is free ({left} are taken)")
    ended = [seconds for seconds in cut if seconds is not None]
    verdicts.check(len(ended) == len(cut), f"every endless header was cut, after {percentile(ended, 50):.1f} s (5 allowed)")


run(main)
