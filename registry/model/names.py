"""What a person calls a model: `[scheme://][host/][namespace/]model[:tag][@digest]`.

Two parts are namespace and model; `//host/model` has a host and no namespace (plain OCI registries).
One type for both worlds: the names Ollama takes, and the deeper repositories of plain OCI registries.
`Name.ollama_problem` says whether an Ollama store could hold a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from registry.errors import InvalidError
from registry.model.digests import Digest

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
DOCKER_HUB = "registry-1.docker.io"  # where Docker's hub is asked, whatever of its names a person uses
HUB_HOSTS = ("docker.io", "index.docker.io", DOCKER_HUB)

_LONGEST = 1024
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REPOSITORY_LENGTH = 255

# What an Ollama store takes: PROTOCOL section 1.
_OLLAMA_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_OLLAMA_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")

_CLOUD = re.compile(r"(.*-)?cloud", re.IGNORECASE)
_SCHEMES = ("http", "https")
_USER = re.compile(r"https?://[^/]*@(?!sha(256|512):)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Name:
    """A model's full name.

    `scheme` is "http", "https" or "" (not said). `repository` is everything between host and tag,
    `namespace/model` in Ollama's world. `digest`, when there, says which bytes are meant, and then
    `tag` is "" unless it was written too.
    """

    host: str
    repository: str
    tag: str = DEFAULT_TAG
    digest: Digest | None = None
    scheme: str = ""

    def __post_init__(self) -> None:
        if self.scheme not in ("", *_SCHEMES):
            raise InvalidError(f"{self.scheme[:20]!r} is not http or https")
        _check_host(self.host)
        _check_repository(self.repository)
        if self.tag and not _TAG.fullmatch(self.tag):
            raise InvalidError(f"{self.tag[:80]!r} is not a tag")
        if not self.tag and self.digest is None:
            raise InvalidError("a name needs a tag or a digest")

    @classmethod
    def parse(cls, text: str, default_host: str = DEFAULT_HOST) -> Name:
        """The name `text` spells; `default_host` may carry a scheme. InvalidError says what is wrong."""
        if len(text) > _LONGEST:
            raise InvalidError(f"a name longer than {_LONGEST} characters is not one", hint=_FORM)
        if not text or not text.isascii() or not text.isprintable():
            raise InvalidError(f"{text!r} is not a model name", hint=_FORM)
        check_no_user(text)
        try:
            return cls._split(text, default_host)
        except InvalidError as error:
            hint = error.hint or _FORM
            raise InvalidError(f"{text!r} is not a model name: {error.message}", hint=hint) from None

    @classmethod
    def _split(cls, text: str, default_host: str) -> Name:
        scheme, rest = split_scheme(text)
        has_host = bool(scheme)
        if not scheme and rest.startswith("//"):
            has_host, rest = True, rest[2:]
        rest, at, digest_text = rest.partition("@")
        digest = Digest.parse(digest_text) if at else None
        path, colon, tag = _split_tag(rest)
        if colon and not tag:
            raise InvalidError("there is no tag behind the colon")
        if not colon:
            tag = "" if digest else DEFAULT_TAG
        parts = path.split("/")
        hub = parts[0].lower() in HUB_HOSTS
        if len(parts) > 2 or ((has_host or hub) and len(parts) == 2):
            host, repository = parts[0], "/".join(parts[1:])
            if hub and len(parts) == 2:
                repository = f"{DEFAULT_NAMESPACE}/{repository}"
        elif has_host and not scheme:
            raise InvalidError("there is no model behind the host")
        else:
            default_scheme, host = split_scheme(default_host)
            scheme = scheme or default_scheme
            repository = path if len(parts) == 2 else f"{DEFAULT_NAMESPACE}/{path}"
            if len(parts) == 2 and not _OLLAMA_NAMESPACE.fullmatch(parts[0]):
                raise InvalidError(
                    f"{parts[0][:80]!r} cannot be a namespace",
                    hint=f"if {parts[0][:80]} is a host, write //{path} or {parts[0][:80]}/library/…",
                )
        return cls(host, repository, tag, digest, scheme)

    @property
    def reference(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag

    @property
    def namespace(self) -> str:
        """Everything in front of the last part of the repository; may be empty."""
        return self.repository.rpartition("/")[0]

    @property
    def model(self) -> str:
        """The last part of the repository."""
        return self.repository.rpartition("/")[2]

    def ollama_problem(self) -> str:
        """Why an Ollama store cannot hold this name, or "" if it can."""
        if self.digest is not None:
            return "a name with a digest"
        if self.host.startswith("["):
            return "a host in brackets"
        if self.repository.count("/") != 1:
            return "a repository that is not namespace/model"
        if not _OLLAMA_NAMESPACE.fullmatch(self.namespace):
            return f"the namespace {self.namespace!r}"
        if not (_OLLAMA_PART.fullmatch(self.model) and _OLLAMA_PART.fullmatch(self.tag)):
            return f"{self.model}:{self.tag}"
        return ""

    def tag_warning(self) -> str:
        """Why stock Ollama would not treat this tag as an ordinary one, or ""."""
        if self.tag.lower() == "local":
            return "Ollama strips the tag 'local': it would act on ':latest' instead"
        if _CLOUD.fullmatch(self.tag):
            return "Ollama takes a tag that ends in 'cloud' for a cloud model"
        return ""

    def folded(self) -> tuple[str, str, str]:
        """What is equal for names that a local store cannot hold side by side."""
        return (self.host.lower(), self.repository.lower(), self.tag.lower())

    def with_reference(self, reference: Digest | str) -> Name:
        """The same repository at another tag or digest."""
        if isinstance(reference, Digest):
            return Name(self.host, self.repository, "", reference, self.scheme)
        return Name(self.host, self.repository, reference, None, self.scheme)

    @property
    def shortest(self) -> str:
        """As short as Ollama shows it: default host and namespace left out, the tag always there."""
        if self.host != DEFAULT_HOST:
            return self.text
        if self.namespace == DEFAULT_NAMESPACE:
            return f"{self.model}{self._suffix}"
        return f"{self.repository}{self._suffix}" if self.repository.count("/") == 1 else self.text

    @property
    def text(self) -> str:
        """The whole name; parses back to an equal one."""
        return f"{self._prefix}{self.host}/{self.repository}{self._suffix}"

    @property
    def _prefix(self) -> str:
        if self.scheme:
            return f"{self.scheme}://"
        return "" if "/" in self.repository else "//"  # without them `h/m` is namespace and model

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.shortest


_FORM = "a name is [host/][namespace/]model[:tag], for example models.acme.example/acme/tiny:1.0"


def is_pattern(text: str) -> bool:
    """Whether `text` stands for any number of names: `acme/*`, `tiny:v?`. No name has such signs."""
    return any(sign in text for sign in "*?[")


def matches(name: Name, pattern: str) -> bool:
    """Whether `name`, as it is shown or written out whole, is one of `pattern`; whatever its case."""
    spelled = (name.shortest, name.text, name.shortest.removesuffix(f":{DEFAULT_TAG}"))
    return any(fnmatchcase(each.lower(), pattern.lower()) for each in spelled)


def is_host(text: str, *, destination: bool = False) -> bool:
    """Whether `text` is a host and nothing else, so that it cannot be meant as a model's name.

    One part that is `localhost`, an IP address, a dotted name with a port, or one with two dots and a last
    label of letters; where models go to, any dotted name. `qwen2.5`, `qwen2.5:14` and `tiny:5080` are models.
    """
    scheme, separator, rest = text.partition("://")
    part = (rest if separator else scheme).rstrip("/")
    if "/" in part or "@" in part or not part:
        return False
    if separator or part.startswith("["):
        return True
    host, colon, port = part.partition(":")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        return False
    if host.lower() == "localhost" or _ADDRESS.fullmatch(host):
        return True
    labels = host.split(".")
    if len(labels) < 2 or not all(labels):
        return False
    if destination and not colon:
        return True
    if not labels[-1][0].isalpha():  # no host's name ends so: `qwen2.5:14` is a model and its tag
        return False
    return bool(colon) or (len(labels) > 2 and labels[-1].isalpha())


def names_host(text: str) -> bool:
    """Whether the name that `text` spells says itself at which host it is."""
    scheme, separator, rest = text.partition("://")
    path = rest if separator else scheme
    return path.partition("@")[0].count("/") > (0 if separator else 1)


def asked_host(host: str) -> str:
    """The host that is asked for `host`: the three names of Docker's hub are one place."""
    return DOCKER_HUB if host.lower() in HUB_HOSTS else host


def check_no_user(text: str) -> None:
    """InvalidError, which does not repeat the password, for a URL with a user in front of its host."""
    if _USER.match(text):
        raise InvalidError(
            "a user and a password in front of the host are no part of a name",
            hint="leave them out, and log in at the host once",
        )


def split_scheme(text: str) -> tuple[str, str]:
    """`http` or `https` or "" in front of `text`, and the rest; InvalidError for another scheme."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "", text
    if scheme.lower() not in _SCHEMES:
        raise InvalidError(f"{scheme[:20]!r} is not http or https")
    return scheme.lower(), rest


def _split_tag(text: str) -> tuple[str, bool, str]:
    """A tag's colon counts only after the last slash."""
    slash = text.rfind("/")
    colon = text.find(":", slash + 1)
    if colon < 0:
        return text, False, ""
    return text[:colon], True, text[colon + 1 :]


@lru_cache(maxsize=64)  # a mirror makes thousands of names, of two hosts
def _check_host(host: str) -> None:
    if not (_HOST.fullmatch(host) or _BRACKETED.fullmatch(host)):
        raise InvalidError(f"{host[:80]!r} is not a host name")
    _check_port(host)


@lru_cache(maxsize=64)  # and of few repositories
def _check_repository(repository: str) -> None:
    if len(repository) > _REPOSITORY_LENGTH:
        raise InvalidError(f"the repository is longer than {_REPOSITORY_LENGTH} characters")
    for part in repository.split("/"):
        if not _PART.fullmatch(part):
            raise InvalidError(
                f"{part[:80]!r} cannot be part of a name: "
                "letters, digits, '-', '_' and '.', beginning with a letter, digit or '_'"
            )


def _check_port(host: str) -> None:
    """A host may have one port, and it must be one: 1 to 65535."""
    tail = host.rpartition("]")[2] if host.startswith("[") else host
    name, colon, port = tail.partition(":")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise InvalidError(f"{host[:80]!r} does not end in a port between 1 and 65535")
    if colon and not host.startswith("[") and not name:
        raise InvalidError(f"{host[:80]!r} is not a host name")
