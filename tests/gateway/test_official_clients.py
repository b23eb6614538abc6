"""The official Python clients of Ollama, OpenAI and Anthropic, unchanged, through the gateway."""

from __future__ import annotations

import json
import threading
from importlib import import_module

import pytest
from door_kit import MODEL, House
from pretend_cloud import Cloud, Part
from spy import reply

TALK = [{"role": "user", "content": "hello"}]
CALLERS_KEY = "sk-of-the-caller-778899"


def events(*documents: object) -> list[Part]:
    """Server-sent events as OpenAI sends them."""
    return [b"data: " + (d if isinstance(d, bytes) else json.dumps(d).encode()) + b"\n\n" for d in documents]


def named_events(*documents: dict[str, object]) -> list[Part]:
    """Server-sent events as Anthropic sends them."""
    return [f"event: {d['type']}\ndata: {json.dumps(d)}\n\n".encode() for d in documents]


def test_ollama(door: House, cloud: Cloud) -> None:
    ollama = import_module("ollama")  # their types are large, and not what is tested

    last = threading.Event()
    line = {"model": "gpt-oss:120b", "created_at": "2026-01-02T03:04:05Z", "done": False}
    first, end = ({**line, "message": {"role": "assistant", "content": word}} for word in ("Good", ""))
    cloud.answers["/api/chat"] = [
        json.dumps(first).encode() + b"\n",
        last,
        json.dumps({**end, "done": True}).encode(),
    ]

    with ollama.Client(host=door.url, headers={"Authorization": f"Bearer {CALLERS_KEY}"}) as client:
        stream = client.chat(MODEL, TALK, stream=True)
        assert next(stream).message.content == "Good"
        last.set()
        assert [part.done for part in stream] == [True]
        assert client.list().models[0].model == MODEL
        assert client.show(MODEL).capabilities == ["completion", "tools"]
        assert client.ps().models == []
        assert client.generate(MODEL, "hello", stream=False).response == "Good morning"
        assert client.pull(MODEL).status == "success"
        with pytest.raises(ollama.ResponseError, match="has cloud models") as refused:
            client.delete(MODEL)
        assert refused.value.status_code == 501
        cloud.keys.clear()
        with pytest.raises(ollama.ResponseError, match="/connect") as refused:
            client.chat(MODEL, TALK)
        assert refused.value.status_code == 401
    assert CALLERS_KEY.encode() not in cloud.spy.everything


def test_openai(door: House, cloud: Cloud) -> None:
    openai = import_module("openai")  # their types are large, and not what is tested

    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-oss:120b"}
    last = threading.Event()
    first, second = (
        {**chunk, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        for word in ("Good", " morning")
    )
    cloud.answers["/v1/chat/completions"] = [*events(first), last, *events(second, b"[DONE]")]
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key=CALLERS_KEY, max_retries=0) as client:
        stream = client.chat.completions.create(model=MODEL, messages=TALK, stream=True)
        words = [next(stream).choices[0].delta.content]
        last.set()
        words += [part.choices[0].delta.content for part in stream]
        assert words == ["Good", " morning"]
        assert client.models.list().data[0].id == MODEL
        assert client.models.retrieve(MODEL).id == MODEL
        with pytest.raises(openai.NotFoundError, match="no cloud model"):
            client.embeddings.create(model="llama3.2", input="x")
        cloud.spent.update(cloud.keys)
        with pytest.raises(openai.RateLimitError, match="weekly limit") as spent:
            client.completions.create(model=MODEL, prompt="x")
        assert spent.value.response.headers["retry-after"] == "1200"
        cloud.spent.clear()
        cloud.keys.clear()
        with pytest.raises(openai.AuthenticationError, match="/connect"):
            client.responses.create(model=MODEL, input="x")
    assert CALLERS_KEY.encode() not in cloud.spy.everything


def test_anthropic(door: House, cloud: Cloud) -> None:
    anthropic = import_module("anthropic")  # their types are large, and not what is tested

    message = {"id": "m", "type": "message", "role": "assistant", "model": "gpt-oss:120b", "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    last = threading.Event()
    cloud.answers["/v1/messages"] = [
        *named_events(
            {"type": "message_start", "message": {**message, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good"}},
        ),
        last,
        *named_events(
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ),
    ]
    with anthropic.Anthropic(base_url=door.url, api_key=CALLERS_KEY, max_retries=0) as client:
        with client.messages.stream(model=MODEL, max_tokens=9, messages=TALK) as stream:
            words = stream.text_stream
            assert next(words) == "Good"
            last.set()
            assert list(words) == []
        assert json.loads(cloud.asked[0].body)["model"] == "gpt-oss:120b"
        assert cloud.asked[0].header("anthropic-version")
        cloud.answers["/v1/messages"] = reply(
            529, b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
        )
        with pytest.raises(anthropic.APIStatusError, match="busy"):
            client.messages.create(model=MODEL, max_tokens=9, messages=TALK)
        cloud.keys.clear()
        with pytest.raises(anthropic.AuthenticationError, match="/connect"):
            client.messages.create(model=MODEL, max_tokens=9, messages=TALK)
    assert CALLERS_KEY.encode() not in cloud.spy.everything
