"""Ollama's own Python client against the gateway: ordinary calls, unchanged."""

import math

import ollama
import pytest

MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0, "num_predict": 24}


@pytest.fixture(scope="module")
def llama(api_url):
    return ollama.Client(host=api_url, timeout=120)


def test_a_streamed_and_a_whole_chat_are_the_same(llama):
    whole = llama.chat(model=MODEL, messages=QUESTION, options=GREEDY)
    assert whole.done and whole.done_reason in ("stop", "length")
    assert whole.eval_count > 0 and whole.prompt_eval_count > 0 and whole.total_duration > 0
    parts = list(llama.chat(model=MODEL, messages=QUESTION, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_generate_streams_and_continues_raw_text(llama):
    raw = dict(model=MODEL, prompt="The capital of France is", raw=True, options={"temperature": 0, "num_predict": 8})
    whole = llama.generate(**raw)
    assert "Paris" in whole.response
    assert "".join(part.response for part in llama.generate(stream=True, **raw)) == whole.response


def test_a_request_without_a_prompt_loads_the_model(llama):
    assert llama.generate(model=MODEL).done_reason == "load"


def test_vectors_have_unit_length(llama):
    answer = llama.embed(model="minilm-l6", input=["How do I bake bread?", "The stock market fell."])
    assert len(answer.embeddings) == 2
    assert all(math.isclose(sum(x * x for x in vector), 1, abs_tol=1e-3) for vector in answer.embeddings)
    assert len(llama.embeddings(model="minilm-l6", prompt="hi").embedding) == len(answer.embeddings[0])


def test_models_are_told(llama):
    assert {MODEL, "minilm-l6"} <= {model.model for model in llama.list().models}
    assert MODEL in {model.model for model in llama.ps().models}
    shown = llama.show(MODEL)
    assert shown.modelinfo["general.architecture"] == "llama" and "completion" in shown.capabilities


def test_an_installed_model_is_pulled_at_once(llama):
    assert list(llama.pull(MODEL, stream=True))[-1].status == "success"
    assert llama.pull(MODEL).status == "success"


def test_errors_are_the_client_s_own(llama):
    with pytest.raises(ollama.ResponseError, match=MODEL) as error:
        llama.chat(model="smollm2-135", messages=QUESTION)
    assert error.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="temperature") as error:
        llama.chat(model=MODEL, messages=QUESTION, options={"temperature": -1})
    assert error.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="llmo rm"):
        llama.delete(MODEL)
