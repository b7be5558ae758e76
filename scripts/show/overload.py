"""Ten times as many requests as there is room for, and one tenant that asks for twenty times its share."""

import argparse
import asyncio
import random
import time

from harness import percentile, run, say, stream

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--seconds", type=float, default=60.0, help="length of the overload")
options = arguments.parse_args()

SLOTS, SPEED, TOKENS = 16, 50, 20
# What three services can do: requests a second, each of 20 tokens at 50 a second.
CAPACITY = 3 * SLOTS * SPEED / TOKENS


class Load:
    """Requests at a rate, whether earlier ones are answered or not."""

    def __init__(self, site, rate, tenant=None, deadline_ms=None, spread=0):
        self.site, self.rate, self.results = site, rate, []
        self.length = lambda: TOKENS + chance.randint(-spread, spread)
        self.headers = {}
        chance = random.Random(tenant)
        if tenant:
            self.headers["x-llmo-tenant"] = tenant
        if deadline_ms:
            self.headers["x-llmo-deadline-ms"] = str(deadline_ms)
        self.tasks = set()

    async def run(self, seconds):
        begun, sent = time.monotonic(), 0
        chance = random.Random(1)
        next_at = begun
        while next_at < begun + seconds:
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            task = asyncio.create_task(self.one(sent))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            sent += 1
            next_at += chance.expovariate(self.rate)
        return self

    async def one(self, number):
        body = self.site.ask(f"{self.headers} {number}", self.length())
        result = await stream(self.site.port, body, self.headers)
        result.at = time.monotonic()
        self.results.append(result)

    async def settle(self):
        while self.tasks:
            await asyncio.sleep(0.05)

    def served(self):
        return [r for r in self.results if r.whole]

    def refused(self):
        return [r for r in self.results if r.status in (429, 503)]


async def goodput(load, seconds, skip=2.0):
    """Answers a second in the middle of a run."""
    begun = time.monotonic()
    await load.run(seconds)
    end = time.monotonic()
    counted = [r for r in load.served() if begun + skip <= r.at <= end]
    return len(counted) / (end - begun - skip)


async def overload(site, verdicts):
    say(f"The peak: a little more than all slots can do ({CAPACITY:.0f} requests/s) for 10 s")
    warm = Load(site, CAPACITY * 1.15)
    peak = await goodput(warm, 10)
    await warm.settle()
    print(f"    {peak:.1f} answers/s")

    say(f"Ten times that for {options.seconds:.0f} s")
    flood = Load(site, CAPACITY * 10, deadline_ms=10_000)
    under_load = await goodput(flood, options.seconds)
    ended = time.monotonic()
    refused = flood.refused()
    waits = [r.seconds for r in refused]
    other = [r for r in flood.results if not r.whole and r.status not in (429, 503)]
    print(f"    {under_load:.1f} answers/s, {len(refused)} refused: p50 {1e3 * percentile(waits, 50):.1f} ms, "
          f"p99 {1e3 * percentile(waits, 99):.1f} ms, slowest {1e3 * max(waits, default=0):.1f} ms")
    verdicts.check(under_load >= 0.95 * peak, f"goodput is {100 * under_load / peak:.0f} % of the peak (at least 95)")
    quick = sum(w <= 0.05 for w in waits) / max(1, len(waits))
    # Those that a tenant's turn or a deadline takes out of the queue later have waited for their chance.
    verdicts.check(quick >= 0.99, f"{100 * quick:.2f} % of refusals within 50 ms")
    verdicts.check(all(r.retry_after for r in refused), "every refusal says when to come back")
    verdicts.check(not other, f"nothing else went wrong ({[(r.status, r.error) for r in other[:2]]})")

    say("Recovery")
    recovered = None
    while time.monotonic() < ended + 20 and recovered is None:
        probe = await stream(site.port, site.ask(f"again {time.monotonic()}", 2))
        if probe.whole and probe.first < 0.3:
            recovered = time.monotonic() - ended
    await flood.settle()
    verdicts.check(recovered is not None and recovered <= 2.0, f"a request is served as usual {recovered or 99:.2f} s after")


async def fairness(site, verdicts, spread):
    """`spread`: answers are so many tokens shorter or longer. Where all are equally long, all slots that are taken at once
    are free at once too, for as long as they are never idle."""
    share = CAPACITY / 5
    lengths = f"{TOKENS - spread} to {TOKENS + spread}" if spread else f"{TOKENS}"
    say(f"Four tenants at {0.8 * share:.0f} requests/s each, answers of {lengths} tokens, alone for {SECONDS:.0f} s")

    async def four():
        loads = [Load(site, share * 0.8, f"tenant-{i}", spread=spread) for i in range(4)]
        await asyncio.gather(*(load.run(SECONDS) for load in loads))
        return loads

    def told(loads):
        results = [r for load in loads for r in load.results]
        served = [r.seconds for r in results if r.whole]
        print(f"    {100 * len(served) / len(results):.2f} % served, p50 {percentile(served, 50):.3f} s, p99 {percentile(served, 99):.3f} s")
        return len(served) / len(results), percentile(served, 99)

    alone = await four()
    for load in alone:
        await load.settle()
    _, before = told(alone)
    say(f"The same with a fifth at {20 * share:.0f} requests/s: twenty times its share")
    greedy = Load(site, share * 20, "greedy", spread=spread)
    greedy_run = asyncio.create_task(greedy.run(SECONDS + 2))
    await asyncio.sleep(1)
    loads = await four()
    for load in loads:
        await load.settle()
    success, after = told(loads)
    await greedy_run
    await greedy.settle()
    print(f"    the greedy one: {len(greedy.served())} served, {len(greedy.refused())} refused")
    verdicts.check(success >= 0.994, f"others' success is {100 * success:.2f} % (at least 99.4)")
    verdicts.check(after <= 1.5 * before, f"others' p99 is {after / before:.2f}x of what it was (at most 1.5)")


SECONDS = max(8.0, min(20.0, options.seconds / 3))


async def main(site, verdicts):
    settings = [f"model.slots={SLOTS}", f"model.sim_tokens_per_second={SPEED}"]
    here = site(3, settings, ["gateway.max_queued=96", "gateway.policy=least-requests"])
    await here.ready()
    await overload(here, verdicts)
    for spread in (0, 15):
        await fairness(here, verdicts, spread)


run(main)
