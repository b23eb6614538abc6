"""Every error Ferry raises, split by what the caller should do about it, and the reasons they give.

RegistryError                                                        exit
├── InvalidError    input or stored data breaks a rule; usage           2
├── NotFoundError   the name or blob is not there                       3
├── DeniedError     key, token or permission refused; certificate       4
├── CorruptError    bytes do not match their digest                     5
├── TransientError  asking again may help: the only one that is retried 6
├── ProtocolError   the peer broke the protocol                         7
└── StorageError    this disk, store or database: full, broken          8
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import ClassVar, TypedDict, Unpack

INTERRUPTED = 130
TERMINATED = 143

# Several results end as one exit code: the worst thing that happened, in this order.
_WORST_FIRST = (1, 8, 5, 7, 4, 3, 2)


class Reason(StrEnum):
    """Why something failed, where that decides what a person does next.

    The library gives the reason; who speaks to people turns it into advice (the command line: `cli/hints`).
    """

    NONE = ""  # the message says it all, or `hint` does

    NOT_SIGNED_IN = "not_signed_in"  # the host knows nobody who asks so, or wants a login
    KEY_UNKNOWN = "key_unknown"  # the host does not know this key
    LOGIN_REFUSED = "login_refused"  # a user name and password, or a stored token, are wrong there
    API_KEY_REFUSED = "api_key_refused"  # an API key is invalid or revoked
    API_KEY_WANTED = "api_key_wanted"  # the host takes nothing but an API key here, and there is none
    FOREIGN_REALM = "foreign_realm"  # a registry sends for a token to another place; `detail` is which
    SECRET_EXPOSED = "secret_exposed"  # others may touch a file that holds a secret; `detail` is its path
    JOB_REFUSED = "job_refused"  # the host takes this CI job's identity for nobody who may do that
    JOB_OVER = "job_over"  # this CI job's only ID token is used up, and the token got for it has run out
    NO_ID_TOKEN = "no_id_token"  # the CI system that runs this job gives it no ID token
    NOT_ALLOWED = "not_allowed"  # the host knows who asks, and says no
    KEY_SCOPES = "key_scopes"  # the scopes of the API key in use do not cover that
    WITHDRAWN = "withdrawn"  # the host knows it, and takes it no more: revoked, expired, disabled
    VISIBILITY_UNSUPPORTED = "visibility_unsupported"  # a push cannot say there who may read it
    CLIENT_CERTIFICATE = (
        "client_certificate"  # the host wants a certificate of ours, and was shown no good one
    )
    CREDENTIALS_NOT_ALLOWED = "credentials_not_allowed"  # the secret in use may not change credentials
    NO_ACCOUNTS = "no_accounts"  # the host keeps none: anybody may do there what it allows
    CLOCK = "clock"  # the two clocks differ too much
    NAME_NOT_THERE = "name_not_there"  # a registry has no such name, or shows it to others only
    BLOB_NOT_THERE = "blob_not_there"  # a registry has a manifest, and not this blob of it
    TAG_IMMUTABLE = "tag_immutable"  # the registry keeps a tag where it is
    TAG_TAKEN = "tag_taken"  # a push was to move no tag, and this one stands for another manifest
    BODY_LIMIT = "body_limit"  # a proxy or registry takes no body of this size
    DISK_FULL = "disk_full"  # this machine's disk has no space left, or a quota is used up
    REGISTRY_FULL = "registry_full"  # the registry says that of its own
    DOCKER_MANIFEST = "docker_manifest"  # an OCI-only registry refuses Docker's kind of manifest
    UNEXPECTED_ANSWER = "unexpected_answer"  # the host answered what fits no question of ours
    BUSY = "busy"  # the host is there and cannot answer now
    NO_ROOM = "no_room"  # the disk there has too little left
    LINE_BROKE = "line_broke"  # the connection broke, or took too long
    NOBODY_LISTENS = "nobody_listens"  # the connection was refused
    NO_SUCH_HOST = "no_such_host"  # its name does not resolve
    NO_REGISTRY_THERE = "no_registry_there"  # what answers speaks no HTTP, or sends a web page
    HTTPS_THERE = "https_there"  # it speaks HTTPS, and was asked in plain HTTP
    NO_HTTPS_THERE = "no_https_there"  # it was asked in HTTPS, and speaks none
    CERTIFICATE = "certificate"  # nobody vouches for its certificate
    CERTIFICATE_HOST = "certificate_host"  # its certificate is for another host
    CERTIFICATE_DATES = "certificate_dates"  # its certificate is not valid today
    CA_UNREADABLE = "ca_unreadable"  # the certificates of further authorities cannot be read
    ADDRESS_TAKEN = "address_taken"  # another program listens where we were to
    REFERRERS_UNREADABLE = "referrers_unreadable"  # a list of what refers to a manifest is wrong, or too long
    HOST_LOST = "host_lost"  # the host does not know itself by the name it was asked for
    PROXY = "proxy"  # the proxy on the way failed, or changed what passed

    NOT_IN_STORE = "not_in_store"  # the local store has no such model
    BLOB_NOT_IN_STORE = "blob_not_in_store"  # a blob of a model in the local store is missing
    NAME_NOT_STORABLE = "name_not_storable"  # an Ollama store cannot hold this name
    INDEX_NOT_STORABLE = "index_not_storable"  # nor an index of manifests
    DIGEST_NOT_STORABLE = "digest_not_storable"  # nor blobs by digests of this algorithm
    STORE_IN_TWO = "store_in_two"  # the store's blobs (detail) are on another filesystem than the store
    STORE_FULL = "store_full"  # so much room is missing (detail)
    BLOB_REFUSED = "blob_refused"  # what arrived at a registry is not the blob


class Side(StrEnum):
    """Which side of a copy an error comes from."""

    UNKNOWN = ""
    SOURCE = "source"
    DESTINATION = "destination"


class Details(TypedDict, total=False):
    """What an error may say besides its message."""

    reason: Reason
    detail: str
    hint: str
    host: str
    name: str


class RegistryError(Exception):
    """What failed, in one sentence, and why.

    `message` says what was being done and the first cause; `reason` why, where advice depends on it;
    `host` and `name` say where, when the place matters, and `detail` what else the advice has to name (a
    path, an amount); `hint` is a next step that is the same for every caller. `side` is set by a copy, and
    `moved`, the bytes that it had moved by then.
    """

    exit: ClassVar[int] = 1

    def __init__(self, message: str, **details: Unpack[Details]) -> None:
        super().__init__(message)
        self.message = message
        self.reason = details.get("reason", Reason.NONE)
        self.detail = details.get("detail", "")
        self.hint = details.get("hint", "")
        self.host = details.get("host", "")
        self.name = details.get("name", "")
        self.side = Side.UNKNOWN
        self.moved = 0

    @property
    def details(self) -> Details:
        """Everything but the message, for an error that says the same in another place's words."""
        return Details(reason=self.reason, detail=self.detail, hint=self.hint, host=self.host, name=self.name)


class InvalidError(RegistryError):
    """Input or stored data breaks a rule: a name, a manifest, a setting, an option."""

    exit = 2


class NotFoundError(RegistryError):
    """The name, blob or upload is not there (or may not be seen)."""

    exit = 3


class DeniedError(RegistryError):
    """A key, token, permission or certificate was refused; asking again does not help."""

    exit = 4


class CorruptError(RegistryError):
    """Bytes do not match their digest."""

    exit = 5


class TransientError(RegistryError):
    """Asking again may help.

    `retry_after` is the peer's wish in seconds, or None; `answered` says whether the peer said
    anything at all; `at_once` that the next try asks for something else, so that no pause is needed.
    """

    exit = 6

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        answered: bool = False,
        at_once: bool = False,
        **details: Unpack[Details],
    ) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after
        self.answered = answered
        self.at_once = at_once


class ProtocolError(RegistryError):
    """The peer broke the protocol, or wants something Ferry does not speak.

    `garbled`: one answer did not fit its question; something on the way may have damaged it, so a
    transfer of many bytes asks again a few times before it gives up.
    """

    exit = 7

    def __init__(self, message: str, *, garbled: bool = False, **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.garbled = garbled


class TooLongError(ProtocolError):
    """A peer sent more than is read of such an answer, or such a list."""


class MissingBlobsError(ProtocolError):
    """A registry misses blobs of a manifest, `digests`, that it took before or said that it has."""

    def __init__(self, message: str, digests: Sequence[object], **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.digests = frozenset(map(str, digests))


class StorageError(RegistryError):
    """This disk, store or database is full, read-only, locked or broken; or a registry's is full.

    Of a registry: `length`, the bytes that it had no room for, and whether that may be a `quota` of the
    namespace.
    """

    exit = 8

    def __init__(
        self, message: str, *, length: int = 0, quota: bool = False, **details: Unpack[Details]
    ) -> None:
        super().__init__(message, **details)
        self.length = length
        self.quota = quota


def exit_code(codes: Iterable[int]) -> int:
    """The exit code of a command with several results, each with its own: 6 only if all that failed are 6."""
    failures = [code for code in codes if code]
    if not failures:
        return 0
    if all(code == TransientError.exit for code in failures):
        return TransientError.exit
    return next((code for code in _WORST_FIRST if code in failures), 1)
