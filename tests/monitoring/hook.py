#!/usr/bin/env python3
"""A receiver of Alertmanager's webhooks: prints one line for each alert. usage: hook.py PORT [ADDRESS]"""

import http.server
import json
import sys


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for alert in body["alerts"]:
            print(alert["status"], alert["labels"]["alertname"], alert["annotations"]["runbook"], flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    http.server.HTTPServer((address, int(sys.argv[1])), Hook).serve_forever()
