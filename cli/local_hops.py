"""The hops of `ferry doctor` before the network: what this run was told, and who it can say that it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli import identity
from cli.options import Invocation
from cli.settings import environment
from registry.auth.credentials import OLLAMA_API, Account, Credentials
from registry.auth.keys import load_key
from registry.diagnose.findings import Finding, note, ok
from registry.errors import DeniedError, InvalidError, Reason, RegistryError, StorageError
from registry.model.names import asked_host
from registry.wire.messages import Origin
from registry.wire.redirects import shown

_MANNERS = frozenset({"format", "progress", "quiet", "verbose", "debug", "yes"})
_MINE = "OLLAMA_API_KEY", "FERRY_API_KEY", "FERRY_API_KEY_FILE"


@dataclass(frozen=True, slots=True)
class LocalHops:
    """About `repository` ("": none in particular) at `origin`."""

    invocation: Invocation
    origin: Origin
    repository: str

    def settings(self) -> Finding:
        """What is set, and where each came from."""
        settings = self.invocation.settings
        rows = [
            f"{key} = {_spelled(settings.chosen[key])} ({where})"
            for key, where in sorted(settings.said_by.items())
            if key not in _MANNERS
        ]
        rows += [
            f"{scheme} proxy = {shown(url)} ({settings.said_proxies[scheme][0]})"
            for scheme, url in settings.proxies.items()
        ]
        for place, table in settings.hosts.items():
            if place.partition("/")[0] == asked_host(self.origin.netloc):
                rows += [
                    f'{key} = {_spelled(value)} (settings.toml, host."{place}")'
                    for key, value in table.items()
                ]
        return ok("settings", "; ".join(rows) or "nothing is set")

    def key(self) -> Finding:
        """Whether this machine's key, or the one of this run, can be used. Errors as `load_key`."""
        settings = self.invocation.settings
        identity.check_secrets(settings)
        if settings.key_text:
            key = identity.key_of_text(settings.key_text)
            return ok("key", f"the text in FERRY_KEY, {key.public.fingerprint}")
        if settings.home is None and not settings.get("key"):
            return note("key", "none: this user has no home directory that it would be in")
        path = settings.key_file()
        try:
            if not settings.get("key") and not path.exists():
                return note("key", f"there is none at {path}")
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from None
        return ok("key", f"{path}, {load_key(path).public.fingerprint}")

    def credential(self, known: Credentials) -> Finding:
        """The first secret that there is for this place, and those that are passed over."""
        account = known.account(self.origin, self.repository)
        broken = list(account.faults)
        chosen, behind = self._first(account, broken)
        passed = [f"{each} (only if that is not known there)" for each in behind] + list(
            self._of_others(known)
        )
        rest = f"; passed over: {'; '.join(passed)}" if passed else ""
        faults = f"; cannot be used: {'; '.join(broken)}" if broken else ""
        if not chosen:
            error: RegistryError = DeniedError("", host=self.origin.netloc, reason=Reason.NOT_SIGNED_IN)
            if broken:
                error = _unusable(broken)
            seen = f"none for {self.origin.netloc}, which is asked as nobody in particular"
            return note("credential", f"{seen}{rest}{faults}", error)
        if broken:
            return note("credential", f"{chosen}{rest}{faults}", _unusable(broken))
        return ok("credential", f"{chosen}{rest}")

    def _first(self, account: Account, broken: list[str]) -> tuple[str, list[str]]:
        """The first candidate that has a secret, and those behind it, as people look for them."""
        candidates = list(account.each())
        for index, (candidate, alone) in enumerate(candidates):
            if next(alone.secrets(broken.append), None) is not None:
                behind = [identity.chosen(self.invocation, other) for other, _ in candidates[index + 1 :]]
                return identity.chosen(self.invocation, candidate), behind
        return "", []

    def _of_others(self, known: Credentials) -> Iterator[str]:
        """Secrets that are for other hosts."""
        held = [name for name in _MINE if environment().get(name)]
        for origin in known.api_keys:
            if origin != self.origin:
                names = [name for name in held if name.startswith("OLLAMA") == (origin == OLLAMA_API)]
                yield f"{' and '.join(names)} (for {origin.netloc})"
        others = [str(prefix) for prefix in known.logins if not prefix.fits(self.origin, self.repository)]
        if others:
            more = " and others" if len(others) > 3 else ""
            yield f"what ferry login keeps for {', '.join(others[:3])}{more}"


def _unusable(broken: list[str]) -> InvalidError:
    return InvalidError(broken[0], hint="mend what it names, or do without it")


def _spelled(value: object) -> str:
    """A setting's value; a URL without the password that may be in it."""
    if isinstance(value, tuple):
        return ", ".join(map(_spelled, value))
    text = str(value)
    return shown(text) if "://" in text else text
