#!/usr/bin/env python3
"""Loads a running stack, then asks a running Prometheus for everything that the dashboards show.

usage: live.py API PROMETHEUS PASSWORD_FILE SECONDS [--without DASHBOARD]…

--without: dashboards whose exporters are not there; their expressions only have to parse.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from prometheus import Prometheus, get, within

DASHBOARDS = pathlib.Path(__file__).resolve().parents[2] / "monitoring/grafana/dashboards"


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def load(api, seconds, workers=6):
    """All kinds of requests, good and bad; gives how many there were of each status."""
    statuses, lock = collections.Counter(), threading.Lock()
    end = time.monotonic() + seconds

    def work(worker):
        n = 0
        while time.monotonic() < end:
            n += 1
            chat = {"messages": [{"role": "user", "content": f"Tell me about {worker} and {n}."}], "max_tokens": 12}
            same = {"messages": [{"role": "user", "content": f"Always the same {n % 3}"}], "max_tokens": 8, "temperature": 0,
                    "seed": 1}
            requests = [("chat/completions", chat), ("chat/completions", chat | {"stream": True}), ("chat/completions", same),
                        ("completions", {"prompt": f"Once {n}", "max_tokens": 12, "stream": True})]
            if n % 5 == 0:
                requests += [("embeddings", {"input": f"text {n}"}), ("chat/completions", {"messages": []}),
                             ("chat/completions", chat | {"model": "nobody-has-this"})]
            for path, body in requests:
                status = post(f"{api}/v1/{path}", body)
                with lock:
                    statuses[status] += 1

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def expressions(path):
    """Panels' titles, legends and expressions, as Grafana would send them."""
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel.get("targets", []):
            # Grafana: at least four scrapes. The test scrapes each second.
            expression = target["expr"].replace("$__rate_interval", "15s").replace("$model", ".*")
            yield panel["title"], target["legendFormat"], expression


def wrong_panel(prometheus, legend, expression, wants_data):
    try:
        samples = prometheus.query(expression)
    except ValueError as error:
        return f"does not parse: {error}"
    if not wants_data:
        return None
    if not samples:
        return "no data"
    if all(sample["value"][1] == "NaN" for sample in samples):
        return "only NaN"
    shown = set(re.findall(r"{{(\w+)}}", legend))
    if not any(shown <= sample["metric"].keys() for sample in samples):
        return f"the legend wants {shown}, the series have {set(samples[0]['metric'])}"
    return None


def wrong_metrics(target):
    """What `promtool check metrics` has against a service of ours."""
    check = subprocess.run(["promtool", "check", "metrics"], input=get(target["scrapeUrl"]), capture_output=True, text=True)
    said = (check.stdout + check.stderr).strip()
    return [f"{target['scrapeUrl']}: {said}"] if said or check.returncode else []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("api")
    parser.add_argument("prometheus")
    parser.add_argument("password_file")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--without", action="append", default=[])
    options = parser.parse_args()
    prometheus = Prometheus(options.prometheus, options.password_file)
    problems = []

    everything_up = lambda: (targets := prometheus.targets()) and all(t["health"] == "up" for t in targets)
    if not within(20, everything_up):
        problems += [f"{t['labels']['job']}: {t['health']} {t['lastError']}" for t in prometheus.targets() if t["health"] != "up"]
    print(f"    {len(prometheus.targets())} targets are scraped: {', '.join(t['labels']['job'] for t in prometheus.targets())}")

    statuses = load(options.api, options.seconds)
    print(f"    load: {sum(statuses.values())} requests in {options.seconds:g} s, {dict(statuses)}")
    if not statuses[200]:
        problems.append("no request was answered")
    time.sleep(2.5)

    for path in sorted(DASHBOARDS.glob("*.json")):
        wants_data = path.stem not in options.without
        found = [(title, expression, wrong) for title, legend, expression in expressions(path)
                 if (wrong := wrong_panel(prometheus, legend, expression, wants_data))]
        problems += [f"{path.stem}: {title}: {wrong}: {expression}" for title, expression, wrong in found]
        count = len(list(expressions(path)))
        print(f"    {path.stem}: {count - len(found)} of {count} expressions {'return data' if wants_data else 'parse (no exporter here)'}")

    ours = [t for t in prometheus.targets() if re.fullmatch(r"gateway|.*-service", t["labels"]["job"])]
    for target in ours:
        problems += wrong_metrics(target)
    print(f"    promtool check metrics: {len(ours)} services")

    for problem in problems:
        print(f"    PROBLEM {problem}", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
