"""What a token is asked for: resources, and what may be done with them, `repository:acme/tiny:pull,push`.

Distribution's token specification, "Resource Scopes". Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from registry.wire.messages import ACCOUNT, Access

_EVERYTHING = "*"
_OF_ACCOUNT = "registry:account"  # credentials are changed with it: never asked for because a peer says so


@dataclass(frozen=True, slots=True)
class Scopes:
    """Actions by resource (`repository:acme/tiny`), both in the order in which they were first named."""

    actions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Scopes:
        """The scopes of a challenge, separated by spaces; two of one resource are one."""
        found = cls()
        for scope in text.split():
            resource, colon, actions = scope.rpartition(":")
            found |= cls({resource: tuple(actions.split(","))} if colon else {actions: ()})
        return found

    @classmethod
    def of_repository(cls, access: Access | None) -> Scopes:
        """What a request needs in its repository, or of our account; none where it is for neither."""
        if access == ACCOUNT:
            return cls({_OF_ACCOUNT: ACCOUNT.actions})
        return cls({f"repository:{access.repository}": access.actions}) if access else cls()

    @classmethod
    def of_mount(cls, access: Access | None) -> Scopes:
        """What a request needs in the repository that a blob is to be taken over from, if there is one."""
        if access is None or access.mounted_from in ("", access.repository):
            return cls()
        return cls({f"repository:{access.mounted_from}": ("pull",)})

    def __or__(self, other: Scopes) -> Scopes:
        merged = dict(self.actions)
        for resource, actions in other.actions.items():
            merged[resource] = tuple(dict.fromkeys((*merged.get(resource, ()), *actions)))
        return Scopes(merged)

    def without(self, resources: Collection[str]) -> Scopes:
        """All but those of these resources."""
        return Scopes({key: actions for key, actions in self.actions.items() if key not in resources})

    def cover(self, other: Scopes) -> bool:
        """Whether these allow all that `other` allows."""
        return all(
            resource in self.actions and (_EVERYTHING in held or held >= set(actions))
            for resource, actions in other.actions.items()
            for held in (set(self.actions.get(resource, ())),)
        )

    @property
    def read_only(self) -> bool:
        """Whether nothing but reading is asked for: what may be public."""
        return all(actions == ("pull",) for actions in self.actions.values())

    @property
    def texts(self) -> list[str]:
        """One text a resource, as a request for a token has them."""
        return [
            f"{resource}:{','.join(actions)}" if actions else resource
            for resource, actions in self.actions.items()
        ]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is to be good for: what a request cannot do without, and what is welcome besides.

    Welcome are what was asked for earlier, and the right to read where a mount comes from: a registry may
    refuse them without the request being lost.
    """

    needed: Scopes = field(default_factory=Scopes)
    welcome: Scopes = field(default_factory=Scopes)

    def tries(self, challenge: str) -> list[Scopes]:
        """What to ask for, best first, where the challenge names these scopes.

        A token for our account is only for a request that is about it, whatever the challenge says.
        A registry that calls this repository something else (behind a path prefix) knows better: then
        only what it names is asked for.
        """
        theirs = Scopes.parse(challenge).without({_OF_ACCOUNT} - self.needed.actions.keys())
        ours = self.needed.actions.keys()
        if theirs.actions and ours and not ours & theirs.actions.keys():
            return [theirs]
        everything = theirs | self.needed | self.welcome
        least = theirs.without(self.welcome.actions.keys() - ours) | self.needed
        return [everything] if everything.cover(least) and least.cover(everything) else [everything, least]
