"""Clients that leave at any moment: queued, before the first token, in the middle. Every slot must be free one step later."""

import argparse
import asyncio
import random
import time

from harness import call, read_head, run, say, send, stream

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--clients", type=int, default=1_000)
options = arguments.parse_args()
SPEED = 50


async def leave(site, number, chance):
    body = {**site.ask(f"client {number}", 60), "stream": chance.random() < 0.8}
    await asyncio.sleep(chance.random() * 5)
    reader, writer = await send("POST", site.port, "/v1/completions", body)
    try:
        async def listen():
            await read_head(reader)
            while await reader.read(4096):
                pass
        await asyncio.wait_for(listen(), chance.choice([0.001, 0.01, 0.05, 0.2, 0.6]))
    except asyncio.TimeoutError:
        pass
    except Exception as error:  # A refusal is fine: it took no slot.
        print(f"    {type(error).__name__}: {error}")
    if chance.random() < 0.3:
        # Not even a farewell.
        writer.transport.abort()
    writer.close()


async def main(site, verdicts):
    settings = ["model.slots=32", f"model.sim_tokens_per_second={SPEED}"]
    here = site(3, settings, ["gateway.hedge_percentile=95"])
    await here.ready()
    say(f"{options.clients} clients that leave at random moments")
    chance = random.Random(7)
    await asyncio.gather(*(leave(here, i, random.Random(chance.random())) for i in range(options.clients)))
    left = time.monotonic()
    taken = await here.taken_slots()
    while taken and time.monotonic() < left + 10:
        await asyncio.sleep(0.005)
        taken = await here.taken_slots()
    freed = time.monotonic() - left
    verdicts.check(not taken, f"every slot upstream is free ({taken} are not)")
    # One step, and what two processes need to hear of it.
    step = 1 / SPEED
    verdicts.check(freed <= step + 0.08, f"{freed * 1e3:.0f} ms after the last one left (a step takes {step * 1e3:.0f} ms)")
    metrics = await here.metrics()
    running = sum(v for k, v in metrics.items() if k.startswith(("llmo_gateway_running", "llmo_gateway_queued")))
    verdicts.check(running == 0, f"nobody runs or waits at the gateway ({running:.0f})")
    after = await stream(here.port, here.ask("still there?", 5))
    verdicts.check(after.whole, "the next request is served")
    answer = await call("GET", here.port, "/readyz")
    verdicts.check(answer.status == 200, "the gateway is ready")


run(main)
