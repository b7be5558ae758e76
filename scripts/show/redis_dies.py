"""Redis is killed under load: requests go on, limits are counted locally, and a counter tells."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time

from harness import call, free_ports, percentile, run, say

PER_MINUTE = 3_000
TOKENS = 4
# Uses up a minute's tokens with a few dozen requests, on the slowest machine.
GREEDY = 100


async def asked(site, seconds, tenant, pause=0.02, tokens=TOKENS):
    """Requests one after the other from eight callers."""
    end = time.monotonic() + seconds
    results = []

    async def one(number):
        count = 0
        while time.monotonic() < end:
            count += 1
            body = site.ask(f"{tenant} {number} {count}", tokens)
            results.append(await call("POST", site.port, "/v1/completions", body, {"x-llmo-tenant": tenant}))
            await asyncio.sleep(pause)

    await asyncio.gather(*(one(i) for i in range(8)))
    return results


def counts(results):
    served = [r.seconds for r in results if r.status == 200]
    refused = [r for r in results if r.status == 429]
    other = [r for r in results if r.status not in (200, 429)]
    p99 = percentile(served, 99) * 1e3
    print(f"    {len(served)} served (p99 {p99:.1f} ms), {len(refused)} refused, {len(other)} otherwise")
    return served, refused, other


async def main(site, verdicts):
    if not shutil.which("redis-server"):
        sys.exit("error: redis-server is missing\n       install it: apt-get install redis-server")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as directory:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await demonstrate(site, verdicts, redis, port)
        finally:
            redis.kill()
            redis.wait()


async def demonstrate(site, verdicts, redis, port):
    settings = ["model.slots=32", "model.sim_tokens_per_second=1000"]
    gateway = [
        f"gateway.tenant_tokens_per_minute={PER_MINUTE}",
        "gateway.limits_backend=redis",
        "cache.backend=redis",
        f"cache.redis_url=redis://127.0.0.1:{port}/0",
    ]
    here = site(2, settings, gateway)
    await here.ready()
    say("With Redis")
    # Every tenant has a minute's tokens to begin with, then no more than come anew.
    before, _, other = counts(await asked(here, 5, "calm", pause=0.4))
    _, refused, _ = counts(await asked(here, 4, "greedy", pause=0.0, tokens=GREEDY))
    verdicts.check(bool(refused), "who asks for more than its limit is refused")
    metrics = await here.metrics()
    verdicts.check(metrics.get("llmo_limits_local_total", 0) == 0, "limits are counted in Redis")

    say("Redis is killed")
    redis.kill()
    after, _, other = counts(await asked(here, 8, "calm", pause=0.4))
    verdicts.check(not other and len(after) > 0, f"requests go on ({[r.status for r in other[:3]]})")
    worse = percentile(after, 99) - percentile(before, 99)
    verdicts.check(worse <= 0.05, f"p99 grew by {1e3 * worse:.0f} ms")
    _, refused, _ = counts(await asked(here, 4, "greedy-2", pause=0.0, tokens=GREEDY))
    verdicts.check(bool(refused), "limits hold locally")
    metrics = await here.metrics()
    local = metrics.get("llmo_limits_local_total", 0)
    verdicts.check(local > 0, f"a counter tells: llmo_limits_local_total is {local:.0f}")


run(main)
