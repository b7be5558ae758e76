"""OpenAI's own Python client: structured output and functions, streamed and whole."""

import json

import openai
import pydantic
import pytest

MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 30},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    age: int = pydantic.Field(ge=0, le=150)


def ask(client, **more):
    defaults = dict(model=MODEL, messages=QUESTION, max_tokens=160, temperature=0)
    return client.chat.completions.create(**{**defaults, **more})


def test_a_pydantic_model_is_parsed(client):
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe Ann, who is 30, as JSON with name and age."}],
        response_format=Person,
        max_tokens=120,
        temperature=0,
    )
    person = answer.choices[0].message.parsed
    assert isinstance(person, Person) and 0 <= person.age <= 150


def test_an_object_is_an_object_streamed_as_well(client):
    more = dict(
        messages=[{"role": "user", "content": "Write a tiny JSON object with one key."}],
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {
            "type": "object", "properties": {"key": {"type": "string", "maxLength": 10}},
            "required": ["key"], "additionalProperties": False}}},
    )
    whole = ask(client, **more).choices[0].message.content
    assert set(json.loads(whole)) == {"key"}
    chunks = ask(client, stream=True, **more)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_must_be_made_is_made(client, choice):
    choice = ask(client, tools=[WEATHER], tool_choice=choice).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    call = choice.message.tool_calls[0]
    assert call.type == "function" and call.function.name == "get_weather" and call.id
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}


def test_a_call_is_streamed_in_pieces(client):
    chunks = list(ask(client, tools=[WEATHER], tool_choice="required", stream=True))
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert not any(delta.content for delta in deltas)
    pieces = [piece for delta in deltas for piece in delta.tool_calls or []]
    assert pieces[0].id and pieces[0].function.name == "get_weather" and pieces[0].index == 0
    assert all(piece.id is None and piece.function.name is None for piece in pieces[1:])
    assert set(json.loads("".join(piece.function.arguments for piece in pieces))) == {"city", "unit"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"


def test_the_client_s_own_accumulation_works(client):
    with client.chat.completions.stream(
        model=MODEL, messages=QUESTION, tools=[WEATHER], tool_choice="required", max_tokens=160, temperature=0
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.name == "get_weather"
    assert json.loads(message.tool_calls[0].function.arguments)


def test_a_conversation_goes_on_with_the_result(client):
    called = ask(client, tools=[WEATHER], tool_choice="required").choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "17 degrees, sunny"}
    answer = ask(client, messages=[*QUESTION, called.to_dict(), result], tools=[WEATHER], tool_choice="none", max_tokens=30)
    assert answer.choices[0].message.content.strip() and not answer.choices[0].message.tool_calls


def test_a_model_that_may_call_calls_or_answers(client):
    choice = ask(client, tools=[WEATHER]).choices[0]
    if choice.finish_reason == "tool_calls":
        assert json.loads(choice.message.tool_calls[0].function.arguments)
    else:
        assert choice.message.content


@pytest.mark.parametrize(
    "extra, check",
    [
        ({"guided_choice": ["yes", "no"]}, lambda text: text in ("yes", "no")),
        ({"guided_regex": "[0-9]{3}"}, lambda text: len(text) == 3 and text.isdigit()),
        ({"structured_outputs": {"json_object": True}}, lambda text: text.startswith("{")),
        ({"grammar": 'root ::= "a" "b"+ "c"'}, lambda text: text.startswith("ab")),
    ],
)
def test_other_servers_fields_work(client, extra, check):
    text = ask(client, extra_body=extra, max_tokens=30).choices[0].message.content
    assert check(text), text


@pytest.mark.parametrize(
    "field, value",
    [
        ("guided_regex", "((a{1,1000}){1,1000}){1,1000}"),
        ("guided_json", {"$ref": "https://example.com/schema.json"}),
        ("guided_json", {"allOf": [{"$ref": "#"}]}),
        ("grammar", "root ::= " + "(" * 60_000),
        ("guided_grammar", 'start: "a"{1,1000000}'),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}),
    ],
)
def test_a_bomb_is_refused_by_the_field_s_name(client, field, value):
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, extra_body={field: value})
    assert error.value.param == field, error.value
