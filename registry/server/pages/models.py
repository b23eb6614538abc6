"""The pages of models: which one may see, what is in each, who may, and what its owner does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from registry.contracts import Depot
from registry.disk import files
from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.model.spans import FileSpan, Span
from registry.server.namespaces import namespace_of
from registry.server.overview import Overview, TagSummary
from registry.server.pages.contents import Contents
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.principal import Right
from registry.server.removal import delete_model
from registry.server.rights import Rights
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_PAGE = 50  # models on one page
_MOST_TAGS = 500  # of one model that are shown
_SAID = {
    "public": "Anybody may read this model now.",
    "private": "Only those it is shared with may read this model now.",
    "shared": "Saved.",
    "back": "Taken back.",
    "tag": "The tag is deleted.",
}


@dataclass(frozen=True, slots=True)
class Models:
    """The pages over what one registry keeps, and who may what there."""

    templates: Templates
    depot: Depot
    rights: Rights
    overview: Overview

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.MODELS_PAGE: {"GET": Row(Need.PAGE, self.list)},
            Route.MODEL_PAGE: {"GET": Row(Need.PAGE, self.show), "POST": Row(Need.SESSION, self.change)},
        }

    def list(self, request: Request, visitor: Visitor) -> Response:
        """What one may read, a page of it."""
        after, wanted = request.parameter("after") or "", (request.parameter("q") or "").strip().lower()[:100]
        judge = self.rights.judge(visitor.principal)
        names = self.depot.repositories(
            after, _PAGE + 1, lambda name: wanted in name and judge(name) >= Right.READ
        )
        more = f"/models?q={quote(wanted)}&after={quote(names[_PAGE - 1])}" if len(names) > _PAGE else ""
        values = {
            "models": self.overview.repositories(names[:_PAGE]),
            "wanted": wanted,
            "first": not after,
            "more": more,
            "done": request.parameter("done") == "deleted",
        }
        return self.templates.page("models.html", visitor, values)

    # --- one model -----------------------------------------------------------------------------------

    def show(self, request: Request, visitor: Visitor) -> Response:
        said = _SAID.get(request.parameter("done") or "", "")
        return self._page(visitor, request.parameter("tag") or "", said=said)

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        name = visitor.place.repository.lower()

        def taken(form: Form) -> Response:
            try:
                done = self._changed(visitor, name, form)
            except (InvalidError, NotFoundError, DeniedError) as error:
                return self._page(visitor, form.text("tag"), error)
            return redirect("/models?done=deleted" if done == "deleted" else f"/models/{name}?done={done}")

        return session_form(request, visitor, taken)

    def _changed(self, visitor: Visitor, name: str, form: Form) -> str:
        """Do what the form says; what was done, in a word. DeniedError to one who may not."""
        match form.exact("do"):
            case ("public" | "private") as wanted:
                self._check_owner(visitor, name)
                self.rights.set_public(name, wanted == "public", visitor.actor)
                return wanted
            case "share":
                scope = self._scope(visitor, name, form)
                self.rights.grant(
                    form.text("user").lower(),
                    scope,
                    Right.parse(form.text("right")),
                    visitor.actor,
                    ownerless=visitor.principal.is_admin,
                )
                return "shared"
            case "take-back":
                scope, by_admin = self._scope(visitor, name, form), visitor.principal.is_admin
                self.rights.ungrant(form.text("user"), scope, visitor.actor, ownerless=by_admin)
                return "back"
            case "delete-tag":
                self._check_writer(visitor)
                self.depot.delete_tag(name, form.text("tag"), visitor.actor)
                return "tag"
            case "delete":
                self._check_writer(visitor)
                if form.text("name").lower() != name:
                    raise InvalidError(f"to delete it, type its name: {name}")
                delete_model(self.depot, self.overview, self.rights, name, visitor.actor)
                return "deleted"
        raise InvalidError("the form does not say what to do")

    def _scope(self, visitor: Visitor, name: str, form: Form) -> str:
        """Where something is shared: in this model, or in what it is in."""
        said = form.text("scope").lower()
        scope = said if name.startswith(f"{said}/") else name
        self._check_owner(visitor, scope)
        return scope

    def _check_owner(self, visitor: Visitor, where: str) -> None:
        if not self.rights.owns(visitor.principal, where):
            raise DeniedError(f"{where} is not yours to share")

    def _check_writer(self, visitor: Visitor) -> None:
        if visitor.right < Right.WRITE:
            raise DeniedError(f"you may not change {visitor.place.repository}")

    def _page(
        self, visitor: Visitor, tag: str, error: RegistryError | None = None, said: str = ""
    ) -> Response:
        name = visitor.place.repository.lower()
        found = self.overview.repositories([name])
        if not found:
            raise NotFoundError(f"{name} is not here, or not for you to see")
        tags = self.overview.tags(name, "", _MOST_TAGS)
        chosen = next((each for each in tags if each.tag == tag), _latest(tags))
        contents = self._contents(name, chosen) if chosen else None
        reference = _reference(visitor, name, chosen)
        owns = visitor.session is not None and self.rights.owns(visitor.principal, name)
        values = {
            "model": found[0],
            "namespace": namespace_of(name),
            "tags": sorted(tags, key=lambda each: -each.modified),
            "cut": len(tags) == _MOST_TAGS,
            "chosen": chosen,
            "contents": contents,
            "reference": reference,
            "for_ollama": _is_for_ollama(reference, contents),
            "plain": visitor.here.origin.scheme == "http",
            "loopback": visitor.here.origin.loopback,
            "owns": owns,
            "writes": visitor.session is not None and visitor.right >= Right.WRITE,
            "shares": self.rights.grants_in(name) if owns else [],
            "said": said,
        }
        return self.templates.page("model.html", visitor, values, error=error)

    def _contents(self, name: str, tag: TagSummary) -> Contents | None:
        """What a tag stands for; None if that cannot be read."""

        def read(digest: Digest, most: int) -> bytes | None:
            blob = self.depot.blob(name, digest)
            return _bytes(blob.content(Span(0, min(most, blob.size)))) if blob is not None else None

        document = self.depot.manifest(name, Digest.parse(tag.digest))
        if document is None:
            return None
        try:
            manifest = Manifest.parse(document.raw, content_type=document.media_type, digest=document.digest)
        except InvalidError:
            return None
        return Contents.of(manifest, read)


def _bytes(content: bytes | FileSpan) -> bytes:
    return content if isinstance(content, bytes) else b"".join(files.read_span(content))


def _latest(tags: list[TagSummary]) -> TagSummary | None:
    """The tag that is shown first: the one that is taken where none is said, else the newest."""
    newest = max(tags, key=lambda each: each.modified, default=None)
    return next((each for each in tags if each.tag == "latest"), newest)


def _reference(visitor: Visitor, name: str, tag: TagSummary | None) -> str:
    """What a client calls the model."""
    return f"{visitor.here.spelled}/{name}:{tag.tag}" if tag else ""


def _is_for_ollama(reference: str, contents: Contents | None) -> bool:
    """Whether stock Ollama can pull it, by what is in it and by its name."""
    return contents is not None and contents.ollama and not Name.parse(reference).ollama_problem()
