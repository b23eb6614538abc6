"""The hops at ollama.com, which keeps accounts and answers for cloud models, and is no registry."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.auth.credentials import OLLAMA_API, Account
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey
from registry.auth.signin import Caller, ollama_api_key
from registry.contracts import Clock
from registry.diagnose.asking import asked, check_answer, compared
from registry.diagnose.findings import Finding, Hops, ok
from registry.errors import DeniedError, Reason
from registry.model.manifests import Manifest
from registry.wire import faults
from registry.wire.messages import Request, Response, Transport


@dataclass(slots=True)
class AskingOllama:
    """What is asked there: by `bare` as nobody, and with each secret of `account`. `now` is Unix seconds."""

    bare: Transport
    account: Account
    key_signs: bool
    now: Clock
    _answer: Response = field(default_factory=lambda: Response(200))

    @property
    def hops(self) -> Hops:
        """In order."""
        return (("http", self.http), ("clock", self.clock), ("account", self.whose))

    @property
    def found(self) -> Manifest | None:
        """No model is kept there."""
        return None

    def http(self) -> Finding:
        """What answers there, asked as nobody in particular."""
        self._answer, body = asked(self.bare, Request("GET", f"{OLLAMA_API}/api/version"))
        check_answer(self._answer, body, OLLAMA_API, self.now())
        return ok("http", f"{self._answer.status} to GET /api/version")

    def clock(self) -> Finding:
        """Whether the two clocks agree."""
        return compared(self._answer, OLLAMA_API, self.now(), self.key_signs)

    def whose(self) -> Finding:
        """Whom ollama.com takes the first secret for that can be asked with there."""
        host = OLLAMA_API.netloc
        for secret in self.account.secrets(lambda _text: None):
            if isinstance(secret, ApiKey):
                name = ollama_api_key(self.bare, OLLAMA_API, secret, self.now())
                return ok(
                    "account", f"the API key is {faults.printable(name)}'s" if name else "the API key is good"
                )
            if isinstance(secret, PrivateKey):
                me = Caller(self.bare, OLLAMA_API, secret, self.now).me()
                if me.name:
                    return ok("account", f"the key is that of {faults.printable(me.name)}")
                message = f"{host} does not know the key {secret.public.fingerprint}"
                raise DeniedError(message, host=host, reason=Reason.KEY_UNKNOWN)
        message = f"there is no key and no API key for {host}"
        raise DeniedError(message, host=host, reason=Reason.NOT_SIGNED_IN)
