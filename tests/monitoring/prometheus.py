"""Asking a Prometheus and an Alertmanager, with nothing but Python's own library."""

import base64
import json
import pathlib
import time
import urllib.error
import urllib.parse
import urllib.request


def get(url, timeout=10, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as answer:
        return answer.read().decode()


class Server:
    """One that wants a password, which is in a file; the user is admin."""

    def __init__(self, url, password_file):
        self.url = url
        login = f"admin:{pathlib.Path(password_file).read_text().strip()}"
        self.headers = {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def get(self, path):
        return get(self.url + path, headers=self.headers)


class Prometheus(Server):

    def query(self, expression):
        """The samples of an expression. Raises `ValueError` with Prometheus' words if it does not parse."""
        try:
            return json.loads(self.get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.loads(error.read())["error"]) from error

    def targets(self):
        return json.loads(self.get("/api/v1/targets?state=active"))["data"]["activeTargets"]


class Alertmanager(Server):
    def active(self):
        """Labels of the alerts that are neither silenced nor inhibited."""
        alerts = json.loads(self.get("/api/v2/alerts?active=true&silenced=false&inhibited=false"))
        return [alert["labels"] for alert in alerts]


def within(seconds, condition):
    """Waits until `condition` gives something; gives that, or what it gave last."""
    limit = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() > limit:
            return found
        time.sleep(0.2)
