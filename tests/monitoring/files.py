#!/usr/bin/env python3
"""What can be checked of monitoring/ without running anything: configuration, rules, their unit tests, dashboards, runbook.

Needs promtool and amtool (Debian: prometheus, prometheus-alertmanager).
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
KINDS = {"timeseries", "stat", "row"}
UNITS = {"short", "reqps", "percentunit", "s", "bytes", "Bps", "ops"}


def run(*command, cwd=None):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return [] if result.returncode == 0 else [f"{' '.join(command)}: {result.stdout}{result.stderr}"]


def alerts():
    """Names of alerts with the text of each."""
    text = (MONITORING / "prometheus/rules/alerts.yml").read_text()
    parts = re.split(r"(?m)^ +- alert: (\w+)$", text)
    return dict(zip(parts[1::2], parts[2::2]))


def wrong_alerts():
    """Every alert has a page, points to it, and is seen firing in a unit test."""
    tests = (MONITORING / "prometheus/tests/alerts_test.yml").read_text()
    for name, text in alerts().items():
        page = re.search(r"runbook: (\S+)", text)
        if not page or not (ROOT / page[1]).is_file():
            yield f"{name}: no runbook page at {page[1] if page else 'its annotation `runbook`'}"
        elif name not in (ROOT / page[1]).read_text():
            yield f"{page[1]} does not name {name}"
        elif not re.search(rf"runbook_url: https://\S+/{re.escape(page[1])}\n", text):
            yield f"{name}: runbook_url is not where {page[1]} is published"
        if not re.search(r"severity: (critical|warning)", text):
            yield f"{name}: no severity"
        fires = rf'alertname: {name}\n +eval_time: \S+\n +exp_alerts:\n +- exp_labels|alertname="{name}", alertstate="firing"'
        if not re.search(fires, tests):
            yield f"{name}: no unit test sees it fire"
    for page in (ROOT / "docs/runbook").glob("*.md"):
        if page.stem != "README" and not any(f"docs/runbook/{page.name}" in text for text in alerts().values()):
            yield f"{page.name}: no alert points to it"


def wrong_dashboard(path, sources):
    """Against what Grafana 10 and 11 demand of a dashboard that is provisioned from a file (schema version 39)."""
    board = json.loads(path.read_text())
    missing = {"uid", "title", "schemaVersion", "panels", "templating", "time", "tags"} - board.keys()
    if missing:
        yield f"lacks {missing}"
    if len(board["uid"]) > 40 or not re.fullmatch(r"[\w-]+", board["uid"]):
        yield f"uid {board['uid']!r} is not one that Grafana takes"
    ids = [panel["id"] for panel in board["panels"]]
    if len(ids) != len(set(ids)):
        yield "two panels have one id"
    taken = {}
    for panel in board["panels"]:
        title, place = panel["title"], panel["gridPos"]
        if panel["type"] not in KINDS:
            yield f"{title}: unknown type {panel['type']}"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or taken.setdefault((x, y), title) != title:
                    yield f"{title} does not fit at {x}, {y} ({taken.get((x, y))})"
        if panel["type"] == "row":
            continue
        if panel["fieldConfig"]["defaults"]["unit"] not in UNITS:
            yield f"{title}: unknown unit"
        if not panel["targets"]:
            yield f"{title} asks for nothing"
        references = [target["refId"] for target in panel["targets"]]
        if len(references) != len(set(references)):
            yield f"{title}: two queries have one name"
        for each in [panel, *panel["targets"]]:
            if each["datasource"]["uid"] not in sources:
                yield f"{title}: no data source {each['datasource']['uid']} is provisioned"
        known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
        for target in panel["targets"]:
            unknown = set(re.findall(r"\$(\w+)", target["expr"])) - known
            if unknown:
                yield f"{title}: nobody defines {unknown}"


def wrong_dashboards():
    sources = set(re.findall(r"uid: (\S+)", (MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text()))
    uids = []
    for path in sorted((MONITORING / "grafana/dashboards").glob("*.json")):
        uids.append(json.loads(path.read_text())["uid"])
        yield from (f"{path.name}: {problem}" for problem in wrong_dashboard(path, sources))
    if len(uids) != len(set(uids)):
        yield "two dashboards have one uid"


def main():
    problems = [
        *run("promtool", "check", "config", "prometheus/prometheus.yml", cwd=MONITORING),
        *run("promtool", "test", "rules", "alerts_test.yml", cwd=MONITORING / "prometheus/tests"),
        *run("amtool", "check-config", "alertmanager/alertmanager.yml", cwd=MONITORING),
        *run(sys.executable, "grafana/generate.py", "--check", cwd=MONITORING),
        *wrong_alerts(),
        *wrong_dashboards(),
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    boards = len(list((MONITORING / "grafana/dashboards").glob("*.json")))
    print(f"monitoring files: {len(alerts())} alerts, {boards} dashboards, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
