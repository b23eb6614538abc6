"""Where a person has an account, and how the commands about accounts ask there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli import sources, values
from cli.options import Invocation
from registry.model.names import DEFAULT_HOST, split_scheme
from registry.wire.messages import Origin

if TYPE_CHECKING:
    from registry.auth.account import AccountClient
    from registry.auth.credentials import Account
    from registry.connect import Registries

# Where people have their accounts, when that is not where the models are.
_ACCOUNTS_OF = {DEFAULT_HOST: "ollama.com"}


@dataclass(frozen=True, slots=True)
class AccountHost:
    """The host of an account, and everything it is reached through."""

    origin: Origin
    opened: Registries

    @property
    def is_ollama(self) -> bool:
        """Whether it is ollama.com, whose account API is another."""
        from registry.auth.credentials import OLLAMA_API

        return self.origin == OLLAMA_API

    @property
    def api(self) -> AccountClient:
        """Its account API, asked as whom we are there.

        By a machine's key first, where a login is an API key: that one may not change what it asks for.
        """
        return self.api_as(self.opened.credentials.account(self.origin).keys_first)

    def api_as(self, account: Account) -> AccountClient:
        """Its account API, asked as `account`."""
        from registry.auth.account import AccountClient

        return AccountClient(self.opened.session_as(self.origin, account), self.origin, time.time)


@contextmanager
def opened(
    invocation: Invocation, host: str | None, timeouts: sources.Timeouts | None = None
) -> Iterator[AccountHost]:
    """The account at `host`, else at the registry of the settings; closed at the end."""
    scheme, bare = split_scheme(str(values.host(invocation.settings.registry if host is None else host)))
    with sources.connections(invocation, timeouts) as connections:
        yield AccountHost(connections.origin_of(_ACCOUNTS_OF.get(bare, bare), scheme), connections)
