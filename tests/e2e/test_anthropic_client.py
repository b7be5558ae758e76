"""Anthropic's own Python client against the gateway: ordinary calls, unchanged."""

import anthropic
import pytest

MODEL = "smollm2-135m"
# The client has no argument for it any more.
GREEDY = {"temperature": 0}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def claude(api_url):
    return anthropic.Anthropic(base_url=api_url, api_key="unused", max_retries=0, timeout=120)


def test_a_message_is_answered(claude):
    message = claude.messages.create(
        model=MODEL, max_tokens=24, system="You answer in one sentence.", messages=QUESTION, extra_body=GREEDY
    )
    assert message.content[0].type == "text" and message.content[0].text.strip()
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.output_tokens > 0 and message.usage.input_tokens > 0


def test_a_streamed_and_a_whole_message_are_the_same(claude):
    ask = dict(model=MODEL, max_tokens=24, messages=QUESTION, extra_body=GREEDY)
    whole = claude.messages.create(**ask)
    with claude.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_raw_events_come_in_their_order(claude):
    events = list(claude.messages.create(model=MODEL, max_tokens=8, messages=QUESTION, extra_body=GREEDY, stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_delta") > 2


def test_a_stop_sequence_is_told(claude):
    ask = [{"role": "user", "content": "Count: 1, 2, 3, 4, 5, 6, 7, 8, 9"}]
    message = claude.messages.create(model=MODEL, max_tokens=40, messages=ask, extra_body=GREEDY, stop_sequences=[","])
    if message.stop_reason == "stop_sequence":
        assert message.stop_sequence == ","
    assert all("," not in block.text for block in message.content)


def test_tokens_are_counted(claude):
    short = claude.messages.count_tokens(model=MODEL, messages=QUESTION)
    long = claude.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "word " * 100}])
    assert 0 < short.input_tokens < long.input_tokens


def test_models_are_listed(claude):
    assert MODEL in {model.id for model in claude.models.list()}
    assert claude.models.retrieve(MODEL).type == "model"


def test_errors_are_the_client_s_own(claude):
    with pytest.raises(anthropic.NotFoundError, match=MODEL):
        claude.messages.create(model="smollm2-135", max_tokens=5, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        claude.messages.create(model=MODEL, max_tokens=5, messages=QUESTION, extra_body={"temperature": -1})
