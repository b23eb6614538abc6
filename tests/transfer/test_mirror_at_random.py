"""A mirror of a repository, and anything at both ends between its rounds: pushes, tags, indexes, signatures.

By hand, for about a minute: pytest tests/transfer/test_mirror_at_random.py --runs 60
"""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mirror_kit import DESTINATION, SOURCE, Registry, signature
from sample_models import KiB, Model, get, index_of, put

from cli import transfers
from cli.mirror_report import Round
from cli.mirror_run import Rounds
from cli.options import Invocation
from cli.render import Terminal
from cli.settings import Settings
from cli.settings.sync_file import MirrorEntry
from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.model.digests import Digest
from registry.model.manifests import Kind, Manifest
from registry.model.names import Name
from registry.model.selection import attached_to
from registry.transfer.pairs import Outcome
from registry.wire.faults import fault
from registry.wire.messages import Request, Response

ROUNDS, MOST = 6, 10  # and operations at the source before each
TAGS = ("v1", "v2", "v3", "v4", "latest", "all")
LISTS = 10  # requests of a round that are not for one tag


class End:
    """One repository, and who works in it."""

    def __init__(self, host: str, chance: random.Random) -> None:
        self.registry, self.remote = (made := Registry(host)), made.remote
        self.remote.single_posts.refuse()  # else a small blob may be sent that is there: nobody asks first
        self._chance = chance
        self._layers = [chance.randbytes(chance.randrange(1, 30 * KiB)) for _ in range(6)]
        self.acts = (
            self.push,
            self.push,
            self.retag,
            self.untag,
            self.index,
            self.sign,
            self.unsign,
            self.tag_sbom,
        )
        if chance.random() < 0.5:
            self.registry.wrong = no_list_of_referrers

    def name(self, reference: Digest | str) -> Name:
        return self.registry.name("acme/tiny").with_reference(reference)

    def tags(self) -> dict[str, Digest]:
        """What is there, but for the lists of referrers."""
        with contextlib.suppress(NotFoundError):
            found = [tag for tag in self.remote.tags(self.name("x")) if not attached_to(tag)]
            return {tag: self.remote.digest(self.name(tag)) for tag in found}
        return {}

    def one(self) -> Manifest:
        return self.remote.resolve(self.name(self._chance.choice([*self.tags()] or ["v1"])))

    def push(self) -> None:
        model = Model.of(*self._chance.sample(self._layers, self._chance.randrange(1, 4)))
        put(self.remote, self.name(self._chance.choice(TAGS)), model)

    def retag(self) -> None:
        self.remote.publish(self.name(self._chance.choice(TAGS)), self.one())

    def untag(self) -> None:
        self.remote.untag(self.name(self._chance.choice(TAGS)))

    def index(self) -> None:
        """Of what has tags, also of other indexes, as deep as is mirrored."""
        index = index_of(*(self.one() for _ in range(self._chance.randrange(1, 4))))
        self.remote.publish(self.name(self._chance.choice(TAGS[-2:])), index)

    def sign(self) -> Manifest:
        subject = self.one()
        signed = signature(subject, self._chance.randbytes(9))
        put(self.remote, self.name(signed.manifest.digest), signed)
        self.remote.refer(self.name(subject.digest), [signed.manifest.as_referrer()])
        return signed.manifest

    def tag_sbom(self) -> None:
        self.remote.publish(self.name("sbom"), self.sign())

    def unsign(self) -> None:
        """A list that is kept under a tag outlives it."""
        for each in self.remote.referrers(self.name(self.one().digest)):
            self.remote.untag(self.name(each.digest))

    def referring(self, digest: Digest, depth: int = 0) -> set[Digest]:
        """What refers to a manifest, and is there; and what refers to that."""
        found: set[Digest] = set()
        for each in self.remote.referrers(self.name(digest)) if depth < 4 else ():
            with contextlib.suppress(NotFoundError):
                found |= {self.remote.resolve(self.name(each.digest)).digest}
                found |= self.referring(each.digest, depth + 1)
        return found

    def whole(self, reference: Digest | str) -> Manifest:
        """A manifest, all of whose bytes are there, and of its children too."""
        model = get(self.remote, self.name(reference))
        assert all(Digest.of(data) == digest for digest, data in model.blobs.items())
        for child in model.manifest.children:
            self.whole(child.digest)
        return model.manifest


def no_list_of_referrers(request: Request) -> Response | None:
    return fault("UNSUPPORTED", "what?", status=404) if "/referrers/" in request.path else None


class World:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.source, self.destination = End(SOURCE, self._chance), End(DESTINATION, self._chance)
        self.deletes = self._chance.random() < 0.5

    def live(self) -> None:
        """Somebody works at both ends; what a registry does not let them do is not done."""
        for end, most in ((self.source, MOST), (self.destination, MOST // 3)):
            for _ in range(self._chance.randrange(1, most)):
                act: Callable[[], object] = self._chance.choice(end.acts)
                with contextlib.suppress(RegistryError):
                    act()

    def opened(self) -> Any:
        ends = {end.registry.host: end.remote for end in (self.source, self.destination)}
        return SimpleNamespace(
            remote=lambda name: ends[name.host],
            origin=lambda name: name.host,
            remote_at=lambda origin, _repository: ends[origin],
        )

    def round(self, *, dry_run: bool = False) -> Round:
        for end in (self.source, self.destination):
            end.registry.asked.clear()
        return self.rounds(lambda: contextlib.nullcontext(self.opened()), dry_run=dry_run).round()

    def rounds(
        self, connect: Callable[[], contextlib.AbstractContextManager[Any]], *, dry_run: bool = False
    ) -> Rounds:
        settings = Settings({"dry_run": dry_run, "yes": True, "progress": "none"}, {})
        invocation = Invocation(settings, Terminal(io.StringIO(), io.StringIO()))
        entry = MirrorEntry(f"{SOURCE}/acme/tiny", f"{DESTINATION}/acme/tiny")
        watcher = transfers.watcher_of_many(invocation)
        return Rounds(invocation, connect, watcher, [entry], keep_going=True, delete=self.deletes)

    def asked(self) -> list[list[str]]:
        return [[*end.registry.asked] for end in (self.source, self.destination)]


def written(asked: list[list[str]]) -> list[str]:
    return [line for each in asked for line in each if not line.startswith(("GET", "HEAD"))]


def test_each_round_reads_anew_who_is_to_be_trusted_and_who_we_are() -> None:
    """Certificates and passwords are renewed, and a service goes on without being started again."""
    world, opened = World(7), []
    world.source.push()

    @contextlib.contextmanager
    def connect() -> Iterator[Any]:
        opened.append("open")
        yield world.opened()
        opened.append("closed")

    rounds = world.rounds(connect)
    rounds.round()
    rounds.round()

    assert opened == ["open", "closed"] * 2


def test_a_file_that_cannot_be_read_for_a_while_ends_no_service() -> None:
    """Passwords and certificates are read anew for each round, and somebody may be writing them."""
    world, wrong = World(7), [InvalidError("credentials.toml is not TOML")]
    world.source.push()

    def connect() -> contextlib.AbstractContextManager[Any]:
        if wrong:
            raise wrong[0]
        return contextlib.nullcontext(world.opened())

    rounds = world.rounds(connect)
    with pytest.raises(InvalidError, match="not TOML"):
        rounds.round()  # nothing has begun: who began it should know
    error = wrong.pop()
    began = rounds.round()
    wrong.append(error)
    failed = rounds.round()
    wrong.clear()

    (told,) = failed.results
    assert (told.source, told.outcome, told.error) == (f"{SOURCE}/acme/tiny", Outcome.FAILED, error)
    assert not began.exit and failed.exit == 2
    assert not rounds.round().exit


@pytest.mark.seeds(1)
def test_each_round_does_what_was_said_and_what_is_promised_and_the_next_nothing(seed: int) -> None:
    world = World(seed)
    source, destination = world.source, world.destination
    source.push()
    for _ in range(ROUNDS):
        world.live()
        wanted, before = source.tags(), destination.tags()
        if not wanted:
            continue

        said = world.round(dry_run=True)
        assert not written(world.asked())
        done = world.round()

        assert not [result.error for result in done.results if result.error]
        told = [
            sorted((each.destination, each.outcome, each.digest, each.was) for each in results)
            for results in (said.results, done.results)
        ]
        assert told[0] == told[1]
        assert (said.would_move, [*said.deleted]) == (done.transferred, [*done.deleted])
        assert destination.tags() == ({} if world.deletes else before) | wanted
        for tag in wanted:
            destination.whole(tag)
        for result in done.results:
            if result.outcome is Outcome.COPIED and result.digest is not None:
                manifest = source.whole(result.digest)
                children = manifest.children if manifest.kind is Kind.INDEX else ()
                for digest in (result.digest, *(child.digest for child in children)):
                    assert source.referring(digest) <= destination.referring(digest)
                    for each in source.referring(digest):
                        destination.whole(each)

        again = world.round()
        asked, count = world.asked(), len(destination.tags())
        assert (again.transferred, written(asked)) == (0, [])
        assert max(map(len, asked)) <= count + LISTS
