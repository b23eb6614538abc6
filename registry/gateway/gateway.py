"""The local gateway: programs that speak to an Ollama server get the cloud models of another one, signed for.

PROTOCOL section 5. It changes the model's name in a request and nothing else, keeps nothing, and gives
nothing of its callers away: their secrets stay here, whatever header they are in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import unquote

from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.gateway import names
from registry.gateway.bodies import MOST_BYTES, plain
from registry.gateway.catalogue import CloudCatalogue
from registry.gateway.entrance import RequestCheck, allowed, preflight
from registry.gateway.json_text import changed, texts
from registry.gateway.relay import Question, Relay, UpstreamCredential, UpstreamRefusal
from registry.gateway.shapes import Shape, document
from registry.wire.headers import Headers
from registry.wire.messages import Later, Request, Response

T = TypeVar("T")

VERSION = "0.17.4"  # of the Ollama server whose routes these are: programs look whether it is new enough
_SMALL = 64 * 1024  # bytes of a body that is read through at once
_LONGEST_NAME = 512
_MODELS = "/v1/models"
_KEEPS_NONE = (
    "this gateway has cloud models and keeps none: that is for an Ollama server, or for ferry pull and push"
)


class Aside(Protocol):
    """Runs in a thread what would take long."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """The key that signs for this machine: where a person approves it, and what forgets it there."""

    credential: UpstreamCredential
    signin_url: str
    path: str  # `/api/user/keys/<key>` at the other end


@dataclass(frozen=True, slots=True)
class Gateway:
    """Answers every request of a local program.

    `machine()` is the key that signs now, None where none does. `disabled` says by what cloud models are
    switched off, "" for by nothing; `source` is the word for that in `/api/status`.
    """

    relay: Relay
    catalogue: CloudCatalogue
    aside: Aside
    entrance: RequestCheck = field(default_factory=RequestCheck)
    machine: Callable[[], Machine | None] = lambda: None
    disabled: str = ""
    source: str = "none"

    def __call__(self, request: Request) -> Response | Later:
        """The answer, or how it comes; no request is refused otherwise than its program can read."""
        route, methods, handler = _route(request.path)
        request.context.route = route
        refusal = self.entrance.refusal(request)
        if refusal is not None:
            return Shape.of(request.path).refusal(*refusal)
        answer = self._answer(request, methods, handler)
        fields = allowed(request)
        return _with_fields(answer, fields) if fields else answer

    def _answer(self, request: Request, methods: tuple[str, ...], handler: Handler) -> Response | Later:
        shape = Shape.of(request.path)
        if request.method == "OPTIONS":
            return preflight(request)
        if request.method not in methods:
            allow = {"Allow": ", ".join(methods)} if methods else None
            sentence = f"this gateway has no {request.method} {request.path[:200]}"
            return shape.refusal(405 if methods else 404, sentence, headers=allow)
        answer = handler(self, request)
        if isinstance(answer, Later) and self.disabled:
            return shape.refusal(403, f"cloud models are switched off on this machine by {self.disabled}")
        return answer

    # --- what the gateway knows by itself -------------------------------------------------------------

    def running(self, _request: Request) -> Response:
        """What programs look for to see whether there is a server."""
        return Response(200, Headers({"Content-Type": "text/plain; charset=utf-8"}), b"Ollama is running")

    def version(self, _request: Request) -> Response:
        """The version of the server that this gateway takes the place of."""
        return document({"version": VERSION})

    def status(self, _request: Request) -> Response:
        """Whether cloud models are switched off, and by what."""
        return document({"cloud": {"disabled": bool(self.disabled), "source": self.source}})

    def running_models(self, _request: Request) -> Response:
        """None: they run elsewhere."""
        return document({"models": []})

    def refused(self, request: Request) -> Response:
        """What has to do with models that are kept here."""
        return Shape.of(request.path).refusal(501, _KEEPS_NONE)

    # --- what the other end's catalogue answers ------------------------------------------------------

    def tags(self, request: Request) -> Later:
        """All models, as Ollama's programs list them."""
        return self._later(request, self._tags)

    def models(self, request: Request) -> Later:
        """All models, as OpenAI's programs list them."""
        return self._later(request, self._models)

    def model(self, request: Request) -> Later:
        """One of them."""
        return self._later(request, partial(self._model, unquote(request.path.removeprefix(f"{_MODELS}/"))))

    def pull(self, request: Request) -> Later:
        """Nothing has to be fetched for a cloud model to run."""
        return self._later(request, partial(self._pull, request), MOST_BYTES)

    async def _tags(self, _body: bytes) -> Response:
        return document({"models": await self.catalogue.tags()})

    async def _models(self, _body: bytes) -> Response:
        return document({"object": "list", "data": await self.catalogue.models()})

    async def _model(self, name: str, _body: bytes) -> Response:
        return document(await self.catalogue.model(name))

    async def _pull(self, request: Request, body: bytes) -> Response:
        await self._named(request, await self._plain(request, body), ("model", "name"))
        return document({"status": "success"})

    # --- what the other end answers --------------------------------------------------------------------

    def inference(self, request: Request) -> Later:
        """A question to a model."""
        return self._later(request, partial(self._inference, request, ("model",)), MOST_BYTES)

    def show(self, request: Request) -> Later:
        """What a model is: asked for under two keys."""
        return self._later(request, partial(self._inference, request, ("model", "name")), MOST_BYTES)

    def web(self, request: Request) -> Later:
        """A search, or a page of the web."""
        return self._later(request, partial(self._web, request), MOST_BYTES)

    def me(self, request: Request) -> Later:
        """Who we are at the other end."""
        return self._later(request, partial(self._me, request))

    def signout(self, request: Request) -> Response | Later:
        """Have the other end forget this machine's key."""
        machine = self.machine()
        if machine is None:
            return Shape.OLLAMA.refusal(400, "this gateway signs with no key, so it cannot sign out")
        return self._later(request, partial(self._signout, machine))

    async def _inference(self, request: Request, keys: tuple[str, ...], body: bytes) -> Response:
        named = await self._named(request, await self._plain(request, body), keys)
        return await self._relayed(request, request.path, named)

    async def _web(self, request: Request, body: bytes) -> Response:
        return await self._relayed(
            request, request.path.replace("/experimental", ""), await self._plain(request, body)
        )

    async def _me(self, request: Request, body: bytes) -> Response:
        return await self._relayed(request, request.path, body)

    async def _signout(self, machine: Machine, _body: bytes) -> Response:
        answer = await self.relay.asked_with(machine.credential, Question("DELETE", machine.path))
        answer.close()
        if answer.status in (200, 204):
            return document(None)
        host = self.relay.origin.netloc
        if answer.status in (401, 404):
            return Shape.OLLAMA.refusal(401, f"this machine is not signed in at {host}")
        return Shape.OLLAMA.refusal(502, f"signing out: {host} answered {answer.status}")

    async def _relayed(self, request: Request, path: str, body: bytes) -> Response:
        answer = await self.relay(Question.of(request, path, body))
        return (
            self._refusal(Shape.of(request.path), answer) if isinstance(answer, UpstreamRefusal) else answer
        )

    async def _plain(self, request: Request, body: bytes) -> bytes:
        """The body as it was before it was compressed. InvalidError."""
        coding = request.headers.get("Content-Encoding").strip().lower()
        if coding in ("", "identity"):
            return body
        return await self.aside(partial(plain, body, coding))

    async def _named(self, request: Request, body: bytes, keys: tuple[str, ...]) -> bytes:
        """The body with the name that the model has at the other end. InvalidError, NotFoundError."""
        reading = partial(texts, body, keys)
        members = reading() if len(body) <= _SMALL else await self.aside(reading)
        there = {member.value: await self._there(member.value) for member in members if member.value}
        request.context.repository = next(reversed(there), "")[:_LONGEST_NAME]
        return changed(body, members, lambda name: there.get(name, name))

    async def _there(self, name: str) -> str:
        """What a model is called at the other end. NotFoundError for what is no cloud model."""
        base = names.base(name)
        if base is not None:
            return base
        if await self.catalogue.has(name):
            return name
        raise NotFoundError(
            f"{name[:_LONGEST_NAME]} is no cloud model, and others are not here: GET /api/tags lists them"
        )

    # --- refusals -----------------------------------------------------------------------------------------

    def _later(
        self, request: Request, answer: Callable[[bytes], Awaitable[Response]], limit: int = _SMALL
    ) -> Later:
        """`answer`, with what it raises told as the program reads it."""
        shape = Shape.of(request.path)

        async def told(body: bytes) -> Response:
            try:
                return await answer(body)
            except InvalidError as error:
                return shape.refusal(400, error.message)
            except NotFoundError as error:
                return shape.refusal(404, error.message)
            except RegistryError as error:
                said = self.relay.masking(error.message)
                closer = f"ferry doctor {self.relay.origin.netloc} looks closer"
                return shape.refusal(502, f"{said}; {closer}")

        return Later(told, limit, told=shape.told)

    def _refusal(self, shape: Shape, refused: UpstreamRefusal) -> Response:
        """No credential was good: what the person can do about it."""
        host = self.relay.origin.netloc
        said = f" ({refused.words})" if refused.words else ""
        if refused.status == 429:
            wait = refused.retry_after
            when = f"try again in {wait} s" if wait.isdigit() else "try again later"
            sentence = f"{host} takes no more requests of this account now{said}: {when}"
            return shape.refusal(429, sentence, headers={"Retry-After": wait} if wait else None)
        machine = self.machine()
        if machine is None:
            advice = f"give this gateway another (ferry login {host} --api-key-stdin)"
            return shape.refusal(401, f"{host} refuses the API key{said}: it is invalid or revoked; {advice}")
        url = machine.signin_url
        sentence = f"{host} does not know this machine yet{said}: sign in at {url}"
        return shape.refusal(401, sentence, signin_url=url)


Handler = Callable[[Gateway, Request], Response | Later]
_READ, _POST = ("GET", "HEAD"), ("POST",)
_INFERENCE = (
    *(f"/api/{what}" for what in ("generate", "chat", "embed", "embeddings")),
    *(f"/v1/{what}" for what in ("chat/completions", "completions", "embeddings", "responses", "messages")),
)
_WEB = tuple(f"/api/{part}web_{what}" for part in ("", "experimental/") for what in ("search", "fetch"))
_ROUTES: Mapping[str, tuple[tuple[str, ...], Handler]] = {
    "/": (_READ, Gateway.running),
    "/api/version": (_READ, Gateway.version),
    "/api/status": (_READ, Gateway.status),
    "/api/ps": (_READ, Gateway.running_models),
    "/api/tags": (_READ, Gateway.tags),
    _MODELS: (_READ, Gateway.models),
    "/api/show": (_POST, Gateway.show),
    "/api/pull": (_POST, Gateway.pull),
    "/api/me": (_POST, Gateway.me),
    "/api/signout": (_POST, Gateway.signout),
    **dict.fromkeys(_INFERENCE, (_POST, Gateway.inference)),
    **dict.fromkeys(_WEB, (_POST, Gateway.web)),
    "/api/create": (_POST, Gateway.refused),
    "/api/copy": (_POST, Gateway.refused),
    "/api/push": (_POST, Gateway.refused),
    "/api/delete": (("DELETE",), Gateway.refused),
}
_PREFIXES: Mapping[str, tuple[tuple[str, ...], Handler]] = {
    f"{_MODELS}/": (_READ, Gateway.model),
    "/api/blobs/": (("HEAD", "POST"), Gateway.refused),
}


def _route(path: str) -> tuple[str, tuple[str, ...], Handler]:
    """The name of a path's route in the log, the methods it takes, and what answers."""
    if path in _ROUTES:
        return path, *_ROUTES[path]
    for prefix, row in _PREFIXES.items():
        if path.startswith(prefix) and path != prefix:
            return f"{prefix}…", *row
    return "none", (), Gateway.refused


def _with_fields(answer: Response | Later, fields: Mapping[str, str]) -> Response | Later:
    """The same answer with more fields in its head, whenever it comes."""

    def added(response: Response) -> Response:
        return replace(response, headers=Headers((*response.headers, *fields.items())))

    if isinstance(answer, Response):
        return added(answer)
    later = answer

    async def shown(body: bytes) -> Response:
        return added(await later.answer(body))

    return replace(later, answer=shown, told=lambda document: added(later.told(document)))
