"""Streams and plain requests against a running stack, counted honestly. Standard library only.

    python3 docker/load.py URL streams COUNT [TOKENS]          COUNT streams at once; each has to end with [DONE]
    python3 docker/load.py URL steady SECONDS [CLIENTS]        clients that ask one question after the other

Prints one JSON object. Both are bounded in count and time; SIGTERM ends `steady` earlier, when what was asked is answered.
Answers are never taken from the cache.
"""

import hashlib
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.parse

TIMEOUT = 120


def ask(base, body):
    connection = http.client.HTTPConnection(base.hostname, base.port or 80, timeout=TIMEOUT)
    connection.request(
        "POST", "/v1/completions", json.dumps(body),
        {"content-type": "application/json", "cache-control": "no-store"},
    )
    return connection, connection.getresponse()


def stream(base, prompt, tokens, progress):
    """The text of a whole stream; an exception says how it broke."""
    # No stream shall end early: SmolLM2's two tokens that end one.
    endless = {} if os.environ.get("ENGINE") == "sim" else {"logit_bias": {"0": -100, "2": -100}}
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True, **endless}
    connection, response = ask(base, body)
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {response.read(200)!r}")
    text = []
    for line in response:
        line = line.strip()
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            connection.close()
            return "".join(text)
        event = json.loads(data)
        if "error" in event:
            raise RuntimeError(f"error event: {event['error']}")
        text.append(event["choices"][0]["text"])
        progress()
    raise RuntimeError("the stream ended without [DONE]")


def streams(base, count, tokens):
    texts, broken, events = [None] * count, [], [0]
    begun = threading.Event()

    def progress():
        events[0] += 1
        # Everybody is in the middle: whoever watches this process may break something now.
        if events[0] > count * 4 and not begun.is_set():
            begun.set()
            print("running", file=sys.stderr, flush=True)

    def one(index):
        try:
            texts[index] = stream(base, f"Story number {index}: once upon a time", tokens, progress)
        except Exception as error:
            broken.append(f"{index}: {error}")

    started = time.monotonic()
    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digest = hashlib.sha256("\0".join(text or "" for text in texts).encode()).hexdigest()[:16]
    return {
        "streams": count, "broken": len(broken), "reasons": broken[:3], "text": digest,
        "events": events[0], "seconds": round(time.monotonic() - started, 1),
    }


def steady(base, seconds, clients):
    ok, failed, slowest = [0], [], [0.0]
    end, told = time.monotonic() + seconds, threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())

    def one(number):
        turn = 0
        while time.monotonic() < end and not told.is_set():
            turn += 1
            started = time.monotonic()
            try:
                connection, response = ask(base, {"prompt": f"Client {number}, turn {turn}:", "max_tokens": 8, "temperature": 0})
                body = response.read()
                connection.close()
                if response.status != 200:
                    raise RuntimeError(f"status {response.status}: {body[:200]!r}")
                json.loads(body)["choices"][0]["text"]
                ok[0] += 1
            except Exception as error:
                failed.append(f"{number}/{turn}: {error}")
                time.sleep(0.2)
            slowest[0] = max(slowest[0], time.monotonic() - started)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    print("running", file=sys.stderr, flush=True)
    for thread in threads:
        thread.join()
    return {"requests": ok[0] + len(failed), "failed": len(failed), "reasons": failed[:3], "slowest_seconds": round(slowest[0], 2)}


def main():
    base, kind = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
    numbers = [int(word) for word in sys.argv[3:]]
    if kind == "streams":
        result = streams(base, numbers[0], numbers[1] if len(numbers) > 1 else 200)
    else:
        result = steady(base, numbers[0], numbers[1] if len(numbers) > 1 else 4)
    print(json.dumps(result))
    sys.exit(bool(result.get("broken") or result.get("failed")))


main()
