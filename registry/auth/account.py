"""What a registry keeps of our account: who we are there, and our credentials (machines' keys and API keys).

The account API of `ferry serve`; what may be asked with what is the server's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from registry.auth.keys import PublicKey
from registry.auth.signin import ANSWER_BYTES, json_object
from registry.errors import DeniedError, InvalidError, NotFoundError, ProtocolError, Reason, RegistryError
from registry.wire import faults
from registry.wire.bodies import read_body
from registry.wire.headers import Headers
from registry.wire.messages import ACCOUNT, Origin, Request, Response, Transport

_LIST_BYTES = 4 * 1024 * 1024
_JSON = {"Content-Type": "application/json"}
_CREDENTIALS = "/api/credentials"
_NO_ACCOUNTS = "this registry has no accounts"  # ferry serve's words, where anybody may do all

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class AccountClient:
    """The account API at `origin`, asked through a session that says who we are; `now` is Unix seconds.

    Every call: InvalidError for what the registry takes for a mistake; NotFoundError where it has no such
    API, or no such credential; DeniedError for a secret that is refused or may not do this; TransientError;
    ProtocolError for an unusable answer.
    """

    transport: Transport
    origin: Origin
    now: Callable[[], float]

    def me(self) -> Document:
        """`{"id","name","admin","host","credential":{"id","kind","note","shown","expires","scopes"}}`."""
        doing = f"asking {self.origin.netloc} who we are"
        answer = self._object("GET", "/api/account", doing)
        if not isinstance(answer.get("name"), str) or not isinstance(answer.get("credential"), dict):
            raise self._unusable(doing)
        return answer

    def credentials(self) -> list[Document]:
        """All of the account's credentials, both kinds, as the registry lists them."""
        doing = f"listing the credentials at {self.origin.netloc}"
        raw = self._ask("GET", _CREDENTIALS, doing, limit=_LIST_BYTES)
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            raise self._unusable(doing)
        return answer

    def create(self, note: str, scopes: Sequence[str], expires_in: float | None) -> Document:
        """A new API key: `{"id","secret","scopes","expires"}`; the secret is told this once."""
        document: Document = {"note": note}
        if scopes:  # without: what the registry gives usually
            document["scopes"] = list(scopes)
        if expires_in is not None:
            document["expires_in"] = int(expires_in)
        return self._secret("POST", _CREDENTIALS, "making an API key", document)

    def rotate(self, id: str, overlap: float) -> Document:
        """A new secret for an API key: `{"id","secret","expires","old_until"}`.

        The old one is good for `overlap` seconds more.
        """
        path = f"{_CREDENTIALS}/{quote(id, safe='')}/rotate"
        return self._secret("POST", path, f"rotating {id}", {"overlap": int(overlap)})

    def revoke(self, id: str) -> bool:
        """End a credential for good, an API key or a machine's key; False if it was revoked before."""
        answer = self._ask("DELETE", f"{_CREDENTIALS}/{quote(id, safe='')}", f"revoking {id}")
        return "revoked" not in json_object(answer)

    def disconnect(self, key: PublicKey) -> None:
        """End what this key may do; it may be connected again later."""
        self._ask("DELETE", f"/api/user/keys/{key.connect}", f"signing out at {self.origin.netloc}")

    def page(self) -> str:
        """A link into the pages, good once and for minutes: a secret. Only one at this origin is taken."""
        doing = f"asking {self.origin.netloc} for a link into its pages"
        url = self._object("POST", "/api/page", doing, {}).get("url")
        if not isinstance(url, str) or not url.startswith(f"{self.origin}/") or not url.isprintable():
            raise self._unusable(doing)
        return url

    def _secret(self, method: str, path: str, doing: str, body: Document) -> Document:
        answer = self._object(method, path, f"{doing} at {self.origin.netloc}", body)
        if not isinstance(answer.get("secret"), str) or not isinstance(answer.get("id"), str):
            raise self._unusable(doing)
        return answer

    def _object(self, method: str, path: str, doing: str, body: Document | None = None) -> Document:
        answer = json_object(self._ask(method, path, doing, body))
        if not answer:
            raise self._unusable(doing)
        return answer

    def _ask(
        self, method: str, path: str, doing: str, body: Document | None = None, limit: int = ANSWER_BYTES
    ) -> bytes:
        """The body of an answer that is a success."""
        raw = b"" if body is None else json.dumps(body).encode()
        headers = Headers({} if body is None else _JSON)
        response = self.transport(Request(method, f"{self.origin}{path}", headers, raw, access=ACCOUNT))
        answer = read_body(response, limit, doing, self.origin.netloc)
        if response.status not in (200, 201, 204):
            raise self._refused(response, answer, doing)
        return answer

    def _refused(self, response: Response, answer: bytes, doing: str) -> RegistryError:
        host = self.origin.netloc
        error = faults.error_of(faults.Refusal.of(response, answer), doing, host=host, now=self.now())
        said = json_object(answer).get("error")
        if response.status == 400 and isinstance(said, str):
            return InvalidError(f"{doing}: {faults.printable(said)[:300]}", host=host)
        if isinstance(error, NotFoundError) and not isinstance(said, str):
            return NotFoundError(
                f"{doing}: it has no account API (404)",
                host=host,
                hint="other registries have pages of their own for it",
            )
        if isinstance(error, NotFoundError):
            return NotFoundError(error.message, host=host)
        if isinstance(error, DeniedError) and _NO_ACCOUNTS in error.message:
            return DeniedError(error.message, host=host, reason=Reason.NO_ACCOUNTS)
        if isinstance(error, DeniedError) and error.reason is Reason.NOT_ALLOWED:
            return DeniedError(error.message, host=host, reason=Reason.CREDENTIALS_NOT_ALLOWED)
        return error

    def _unusable(self, doing: str) -> ProtocolError:
        host = self.origin.netloc
        return ProtocolError(
            f"{doing}: the answer cannot be used", host=host, reason=Reason.UNEXPECTED_ANSWER
        )
