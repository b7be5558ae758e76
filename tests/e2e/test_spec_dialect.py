"""The plain dialect of the specification, and what the gateway does beside answering."""

import json
import urllib.error
import urllib.request
import uuid


def call(url, body=None, headers=None):
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def test_a_question_is_answered_and_then_answered_from_the_cache(api_url):
    question = {"prompt": f"What is the capital of France? ({uuid.uuid4()})", "max_length": 40}
    status, headers, first = call(f"{api_url}/api/generate", question)
    assert (status, first["success"], headers["x-cache"]) == (200, True, "miss")
    for _ in range(50):  # the entry is written behind the answer
        status, headers, second = call(f"{api_url}/api/generate", question)
        if headers["x-cache"] == "hit":
            break
    assert headers["x-cache"] == "hit"
    assert second["response"] == first["response"]


def test_curl_s_default_content_type_is_understood(api_url):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, _ = call(f"{api_url}/api/generate", {"prompt": "Hi", "max_length": 2}, form)
    assert status == 200


def test_health_tells_memory(api_url):
    status, _, health = call(f"{api_url}/api/health")
    assert status == 200
    memory = health["memory_info"]
    assert 0 < memory["used_memory_gb"] <= memory["total_memory_gb"]
    assert 0 < memory["percent_used"] <= 100


def test_errors_have_the_dialect_s_form(api_url):
    for body in (b"{", {}, {"prompt": 3}, {"prompt": "x", "temperature": -1}, {"prompt": "x", "max_length": -5}):
        status, _, answer = call(f"{api_url}/api/generate", body)
        assert status == 400, body
        assert answer["success"] is False and answer["error"], body


def test_request_ids_come_back(api_url):
    _, headers, _ = call(f"{api_url}/api/health", headers={"x-request-id": "abc-123"})
    assert headers["x-request-id"] == "abc-123"
