#!/usr/bin/env python3
"""Waits until an alert is active at an Alertmanager, or no longer is.

usage: alert.py ALERTMANAGER PASSWORD_FILE SECONDS [--gone] NAME [LABEL=VALUE]…
"""

import sys
import time

from prometheus import Alertmanager, within


def main():
    arguments = sys.argv[1:]
    gone = "--gone" in arguments
    url, password_file, seconds, name, *labels = [argument for argument in arguments if argument != "--gone"]
    wanted = {"alertname": name} | dict(label.split("=", 1) for label in labels)
    alertmanager, start = Alertmanager(url, password_file), time.monotonic()
    seen = lambda: any(wanted.items() <= alert.items() for alert in alertmanager.active())
    if not within(float(seconds), lambda: seen() != gone):
        print(f"    active: {alertmanager.active()}", file=sys.stderr)
        return 1
    print(f"    {'gone' if gone else 'active'} after {time.monotonic() - start:.1f} s: {wanted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
