"""Kills, stops and restarts model services under running streams, and counts what clients notice."""

import argparse
import asyncio
import signal
import time

from harness import run, say, stream

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--real", action="store_true", help="SmolLM2 instead of the simulator (it must be installed)")
arguments.add_argument("--streams", type=int, default=200)
arguments.add_argument("--tokens", type=int)
options = arguments.parse_args()
TOKENS = options.tokens or (48 if options.real else 60)
QUESTIONS = ["The capital of France is", "Once upon a time", "Water boils at", "The moon is", "Rust is a language"]


def question(number):
    """No two alike: equal requests at the same time share one generation."""
    return f"{number}. {QUESTIONS[number % len(QUESTIONS)]}"


async def disturbed(site, verdicts, name, undisturbed, disturb):
    """Streams while `disturb` runs, with new requests all the while."""
    say(name)
    begun = time.monotonic()
    asked = [site.ask(question(i), TOKENS) for i in range(options.streams)]
    running = [asyncio.create_task(stream(site.port, body, timeout=300)) for body in asked]
    unstarted, over = [], asyncio.Event()

    async def newcomers():
        # Requests that had not begun when it happened: how long until their first token?
        while not over.is_set():
            unstarted.append(asyncio.create_task(stream(site.port, site.ask("new: " + str(len(unstarted)), 4))))
            await asyncio.sleep(0.1)

    # Some streams are in the middle of their text, others at its beginning.
    await asyncio.sleep(1.0)
    coming = asyncio.create_task(newcomers()) if not options.real else None
    await disturb(site)
    results = await asyncio.gather(*running)
    over.set()
    if coming:
        await coming
    fresh = await asyncio.gather(*unstarted)
    broken = [r for r in results if not r.whole]
    different = [i for i, r in enumerate(results) if r.whole and r.text != undisturbed[i]]
    print(f"    {len(results)} streams in {time.monotonic() - begun:.1f} s, {len(fresh)} new requests meanwhile")
    for result in broken[:3]:
        print(f"    broken: {result.status} {result.error}")
    verdicts.check(not broken, f"0 broken streams ({len(broken)})")
    if different:
        i = different[0]
        print(f"    is:     {results[i].text!r}\n    should: {undisturbed[i]!r}")
    verdicts.check(not different, f"text identical to an undisturbed run ({len(different)} differ)")
    if fresh:
        slowest = max((r.first if r.whole and r.first else 1e9) for r in fresh)
        verdicts.check(slowest <= 2.0, f"unstarted requests begin within 2 s (the slowest: {slowest:.2f} s)")


async def kill_one(site):
    site.services[0].kill()


async def stop_one(site):
    site.services[1].signal(signal.SIGSTOP)


async def restart_all(site):
    for service in site.services:
        code = await asyncio.to_thread(service.terminate)
        if code != 0:
            print(f"    {service.name} ended with {code}")
        service.start()
        await site.ready()


async def main(site, verdicts):
    kind = "three real SmolLM2 services" if options.real else "three simulated services"
    say(f"Starting {kind} and a gateway")
    if options.real:
        # Untuned: what three services find out at once on one machine would differ, and with it the last bits of what they compute.
        settings = ["model.slots=16", "model.context_length=512", "model.threads=1", "model.tune=off", "limits.drain_grace_seconds=2"]
    else:
        settings = ["model.slots=128", "model.sim_tokens_per_second=20", "limits.drain_grace_seconds=2"]
    gateway = ["gateway.first_token_timeout_seconds=300", "gateway.max_queue_seconds=300"] if options.real else []
    here = site(3, settings, gateway, real=options.real)
    await here.ready()
    say("An undisturbed run")
    streams = (stream(here.port, here.ask(question(i), TOKENS), timeout=300) for i in range(options.streams))
    results = await asyncio.gather(*streams)
    for result in results:
        assert result.whole, result.error
    undisturbed = [result.text for result in results]

    await disturbed(here, verdicts, f"SIGKILL of one of three during {options.streams} streams", undisturbed, kill_one)
    here.services[0].start()
    await here.ready()
    await disturbed(here, verdicts, f"SIGSTOP of one of three during {options.streams} streams", undisturbed, stop_one)
    here.services[1].signal(signal.SIGCONT)
    await here.ready()
    await disturbed(here, verdicts, f"Rolling restart of all three during {options.streams} streams", undisturbed, restart_all)
    metrics = await here.metrics()
    continued = metrics.get('llmo_stream_continuations_total{outcome="continued"}', 0)
    print(f"    {continued:.0f} streams went on elsewhere, {here.gateway.memory() >> 20} MiB of memory in the gateway")
    verdicts.check(continued > 0, "the gateway tells how many streams it continued")


run(main)
