#!/usr/bin/env python3
"""A collector of OTLP over HTTP: prints a line for each span, `SERVICE TRACE NAME`. usage: collector.py PORT

Reads protobuf's wire format by the numbers that opentelemetry-proto's trace.proto gives its fields; nothing has to be installed.
"""

import http.server
import sys


def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Numbers of fields with what is in them; what has a fixed width is passed over."""
    at = 0
    while at < len(data):
        key, at = number(data, at)
        match key & 7:
            case 0:
                value, at = number(data, at)
                yield key >> 3, value
            case 1:
                at += 8
            case 2:
                length, at = number(data, at)
                yield key >> 3, data[at : at + length]
                at += length
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")


def all_of(data, wanted):
    return [value for field, value in fields(data) if field == wanted]


def spans(request):
    for resource_spans in all_of(request, 1):
        service = "?"
        for attribute in (each for resource in all_of(resource_spans, 1) for each in all_of(resource, 1)):
            if all_of(attribute, 1) == [b"service.name"]:
                service = all_of(all_of(attribute, 2)[0], 1)[0].decode()
        for span in (each for scope in all_of(resource_spans, 2) for each in all_of(scope, 2)):
            yield f"{service} {all_of(span, 1)[0].hex()} {all_of(span, 5)[0].decode()}"


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf":
            for line in spans(body):
                print(line, flush=True)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
