"""A small blob on its way up: by one request where a registry takes that, else by two.

What a small blob costs is its requests, and on a line far away the round trips that they take.
"""

from __future__ import annotations

from registry.errors import DeniedError, NotFoundError, ProtocolError, RegistryError, TransientError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.targets.methods import Method, Methods
from registry.targets.peer import Peer
from registry.targets.refused import Refused
from registry.targets.sessions import Sessions
from registry.targets.upload import UploadIntake
from registry.wire import routes
from registry.wire.headers import Headers
from registry.wire.messages import Response
from registry.wire.single_post import SINGLE_POST, read_single_post

_SURE = 4  # blobs in a row that were missing: then the next ones are taken to be missing, too,
_LOOK_EVERY = 32  # of them, one is asked for all the same
_BREAKS = 3  # POSTs in a row that end without a blob, where a session begins: something takes no such POST
_BYTES = {"Content-Type": "application/octet-stream"}


class SinglePosts:
    """Which blobs one registry is sent by a single POST, without asking whether they are there.

    None before it offers that; then those of a repository where all are likely to be missing. Threads may
    share one.
    """

    def __init__(self) -> None:
        self._most = 0
        self._refused = False
        self._missing: dict[str, int] = {}  # by repository: blobs in a row that are not there
        self._taken = 0
        self._broken = 0

    def hear(self, headers: Headers) -> None:
        """Learn from an answer what the registry offers."""
        if SINGLE_POST in headers and not self._refused:
            self._most, _ = read_single_post(headers.get(SINGLE_POST))

    def begin(self, repository: str, headers: Headers) -> None:
        """The same from the answer to the first question of a push, which says if nothing is there."""
        self.hear(headers)
        is_empty = SINGLE_POST in headers and read_single_post(headers.get(SINGLE_POST))[1]
        self._missing[repository] = _SURE if is_empty else 0

    def refuse(self) -> None:
        """It does not do what it offered: something between it and us may have a say, too."""
        self._refused, self._most = True, 0

    def arrived(self, *, whole: bool) -> None:
        """Whether a POST brought its blob, or broke off where a session takes it."""
        self._broken = broken = 0 if whole else self._broken + 1
        if broken == _BREAKS:
            self.refuse()

    def found(self, repository: str, *, there: bool) -> None:
        """Whether a blob was there that was asked for."""
        self._missing[repository] = 0 if there else self._missing.get(repository, 0) + 1

    def take(self, repository: str, size: int) -> bool:
        """Whether a blob of `size` bytes is sent so."""
        if size > self._most or self._missing.get(repository, 0) < _SURE:
            return False
        self._taken += 1
        return self._taken % _LOOK_EVERY != 0


class SinglePostIntake(UploadIntake):
    """Takes a small blob, and has it sent by one POST; by an upload session where that is not done after all.

    A POST that breaks off is asked for by HEAD, as a closing PUT; then a session takes the bytes.
    """

    def __init__(
        self,
        posts: SinglePosts,
        peer: Peer,
        sessions: Sessions,
        methods: Methods,
        name: Name,
        blob: Descriptor,
    ) -> None:
        super().__init__(peer, sessions, methods, name, blob)
        self._posts = posts

    @property
    def is_by_one_body(self) -> bool:
        """Whether the registry is not known to want the bytes another way."""
        return self._choice.method is Method.PUT

    def commit(self) -> None:
        """The one POST, or the closing PUT of a session. CorruptError as there."""
        if not self._stored and not self._session.location:
            self._stored = self._is_posted()
        super().commit()

    def resume(self) -> None:
        """Ask whether the blob is there, else begin a session. A firewall may let every such POST hang."""
        was_posted = bool(self._sent) and not self._session.location
        super().resume()
        if was_posted:
            self._posts.arrived(whole=self._stored)

    def _is_posted(self) -> bool:
        """Whether the registry took the blob; if not, a session for it is open."""
        body, self._sent = self._small_body, self._blob.size
        query = f"?digest={routes.in_query(self._blob.digest)}"
        try:
            response = self.begin(query, Headers(_BYTES), body=body)
            if response.status == 201 and self._is_this(response):
                self._posts.arrived(whole=True)
                return True
        except (DeniedError, NotFoundError, ProtocolError):
            pass  # a proxy in front may take no such POST; if it is about the blob, the session hears it too
        self._posts.refuse()
        if not self._session.location:
            self.begin()
        return False

    def _is_this(self, response: Response) -> bool:
        said = response.headers.get("Docker-Content-Digest")
        return said in ("", str(self._blob.digest))


def mounted_onto_itself(
    intake: UploadIntake, name: Name, refused: Refused, posts: SinglePosts
) -> Response | None:
    """A mount from the repository where the blob is to go: 201 says that it is there, 202 that its upload
    is open. That is HEAD and POST in one request.

    None where the registry refuses it; in this run it is asked no more.
    """
    if refused.mounts_onto_itself.is_set():
        return None
    try:
        answer = intake.mount(name)
    except RegistryError as error:
        if isinstance(error, TransientError) and not error.answered:
            raise
        refused.mounts_onto_itself.set()
        return None
    posts.hear(answer.headers)
    posts.found(name.repository, there=answer.status == 201)
    return answer
