"""Asking a Prometheus and an Alertmanager, with nothing but Python's own library."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request


def get(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


class Prometheus:
    def __init__(self, url):
        self.url = url

    def query(self, expression):
        """The samples of an expression. Raises `ValueError` with Prometheus' words if it does not parse."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            return json.loads(get(url))["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.loads(error.read())["error"]) from error

    def targets(self):
        return json.loads(get(f"{self.url}/api/v1/targets?state=active"))["data"]["activeTargets"]


class Alertmanager:
    def __init__(self, url):
        self.url = url

    def active(self):
        """Labels of the alerts that are neither silenced nor inhibited."""
        alerts = json.loads(get(f"{self.url}/api/v2/alerts?active=true&silenced=false&inhibited=false"))
        return [alert["labels"] for alert in alerts]


def within(seconds, condition):
    """Waits until `condition` gives something; gives that, or what it gave last."""
    limit = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() > limit:
            return found
        time.sleep(0.2)
