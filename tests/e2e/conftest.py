"""Where the running stack is: LLMO_API_URL, e.g. http://127.0.0.1:8000."""

import os

import openai
import pytest


@pytest.fixture(scope="session")
def api_url():
    return os.environ["LLMO_API_URL"].rstrip("/")


@pytest.fixture(scope="session")
def client(api_url):
    return openai.OpenAI(base_url=f"{api_url}/v1", api_key="unused", max_retries=0, timeout=120)
