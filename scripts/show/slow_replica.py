"""One of three replicas answers half a second late: it is left out, whatever the policy, and comes back when it is quick again."""

import argparse
import asyncio

from harness import call, percentile, run, say, stream

POLICIES = ["power-of-two", "round-robin", "least-requests", "least-tokens", "consistent-hash", "prefix-aware"]
arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--seconds", type=float, default=20, help="of load, for each policy, twice")
arguments.add_argument("--rate", type=float, default=40, help="requests a second")
arguments.add_argument("--policies", nargs="+", default=POLICIES, choices=POLICIES)
options = arguments.parse_args()
LATE = 0.5
TOKENS = 10
# Until it is known that a replica is slow, some requests have to be.
FIRST = 3


class Late:
    """A port before a service: answers to requests, but not to health checks, come later."""

    def __init__(self, port):
        self.port, self.delay, self.tasks = port, 0, set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        asked = []

        async def forth():
            while data := await reader.read(65536):
                if data.startswith(b"POST"):
                    asked.append(True)
                back.write(data)
            back.close()

        async def answers():
            while data := await there.read(65536):
                if asked:
                    asked.clear()
                    await asyncio.sleep(self.delay)
                writer.write(data)
            writer.close()

        try:
            await asyncio.gather(forth(), answers(), return_exceptions=True)
        except asyncio.CancelledError:
            pass

    def close(self):
        self.server.close()
        for task in self.tasks:
            task.cancel()


async def load(site, name):
    """Requests at an even pace, however long they take; how long those took that began when the first seconds were over."""
    asked = []
    for number in range(int(options.rate * (FIRST + options.seconds))):
        # Prompts that begin differently, and conversations of their own.
        body = site.ask(f"{number} {name} " + "x" * 60, TOKENS)
        asked.append(asyncio.create_task(stream(site.port, body)))
        await asyncio.sleep(1 / options.rate)
    answers = await asyncio.gather(*asked)
    late = answers[int(options.rate * FIRST):]
    return [answer.seconds for answer in late], sum(not answer.whole for answer in answers)


async def main(site, verdicts):
    for policy in options.policies:
        say(f"{policy}: {options.rate:.0f} requests a second to three replicas, one of them {LATE * 1e3:.0f} ms late")
        nowhere = "gateway.upstreams=http://127.0.0.1:1"
        settings = ["model.slots=32", "model.sim_tokens_per_second=100"]
        here = site(3, settings, [f"gateway.policy={policy}", nowhere])
        here.gateway.kill()
        late = Late(here.ports[0])
        upstreams = [await late.start(), *here.ports[1:]]
        at = here.gateway.command.index(nowhere)
        here.gateway.command[at] = "gateway.upstreams=" + ",".join(f"http://127.0.0.1:{port}" for port in upstreams)
        here.gateway.start()
        await here.ready()
        quick, broken = await load(here, "quick")
        late.delay = LATE
        slow, more = await load(here, "slow")
        before, after = percentile(quick, 99), percentile(slow, 99)
        verdicts.check(broken + more == 0, f"every request was served ({broken + more} were not)")
        verdicts.check(
            after <= before * 1.5,
            f"p99 {before * 1e3:.0f} ms without it, {after * 1e3:.0f} ms with it ({after / before:.2f} times; p50 {percentile(slow, 50) * 1e3:.0f} ms)",
        )
        answer = await call("GET", here.port, "/readyz")
        verdicts.check(answer.status == 200, "the gateway is ready")
        late.close()
        here.close()


run(main)
