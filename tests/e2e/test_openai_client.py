"""OpenAI's own Python client against the gateway: ordinary calls, unchanged."""

import math

import openai
import pytest

MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_a_chat_streams_piece_by_piece(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(pieces) > 3
    assert "".join(pieces).strip()
    assert chunks[-1].usage.completion_tokens > 3
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert reasons in (["stop"], ["length"])


def test_a_streamed_and_a_whole_answer_are_the_same(client):
    ask = dict(model=MODEL, messages=QUESTION, max_tokens=24, temperature=0)
    whole = client.chat.completions.create(**ask).choices[0].message.content
    streamed = client.chat.completions.create(stream=True, **ask)
    assert "".join(c.choices[0].delta.content or "" for c in streamed if c.choices) == whole


def test_the_same_seed_gives_the_same_answer(client):
    ask = dict(model=MODEL, messages=QUESTION, max_tokens=16, temperature=1.0, seed=7)
    no_store = {"Cache-Control": "no-store"}
    first = client.chat.completions.create(extra_headers=no_store, **ask)
    second = client.chat.completions.create(extra_headers=no_store, **ask)
    assert first.choices[0].message.content == second.choices[0].message.content


def test_several_choices_are_numbered(client):
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, n=3, seed=1, temperature=1.0)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def test_logprobs_come_with_their_tokens(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
    )
    entries = answer.choices[0].logprobs.content
    assert len(entries) == 4
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 3 for entry in entries)
    assert all(entry.top_logprobs[0].token == entry.token for entry in entries)


def test_a_completion_continues_the_text(client):
    answer = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=8, temperature=0)
    assert "Paris" in answer.choices[0].text


def test_completions_stop_where_told(client):
    answer = client.completions.create(model=MODEL, prompt="1, 2, 3, 4,", max_tokens=20, temperature=0, stop=["7"])
    assert answer.choices[0].finish_reason == "stop"
    assert "6" in answer.choices[0].text and "7" not in answer.choices[0].text


def test_a_streamed_and_a_whole_response_are_the_same(client):
    ask = dict(model=MODEL, input="What is the capital of France?", max_output_tokens=24, temperature=0)
    whole = client.responses.create(**ask)
    assert whole.output_text.strip() and whole.usage.output_tokens > 0
    with client.responses.stream(**ask) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == whole.output_text
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(previous_response_id=whole.id, **ask)


def test_paraphrases_are_closer_than_strangers(client):
    texts = ["How do I bake bread at home?", "What is the way to make a loaf of bread?", "The stock market fell today."]
    vectors = [row.embedding for row in client.embeddings.create(model="minilm-l6", input=texts).data]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert all(math.isclose(dot(v, v), 1, abs_tol=1e-3) for v in vectors)
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]) + 0.3


def test_models_are_listed(client):
    assert {MODEL, "minilm-l6"} <= {model.id for model in client.models.list()}


def test_an_unknown_model_is_a_404_with_a_suggestion(client):
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client.chat.completions.create(model="smollm2-135", messages=QUESTION)


def test_a_wrong_parameter_is_a_400_that_names_it(client):
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=-1)


def test_too_long_a_prompt_is_a_400_with_the_counts(client):
    with pytest.raises(openai.BadRequestError, match="context"):
        client.completions.create(model=MODEL, prompt="word " * 40_000, max_tokens=5)
