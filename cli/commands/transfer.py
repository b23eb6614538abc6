"""Models on their way: from a registry into the local store, back, and from registry to registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from cli import naming, sources, transfers
from cli.exits import KEPT_HERE, KEPT_THERE
from cli.options import MOVING, NETWORK, STORE, Invocation, command
from cli.plans import PlannedCopy
from cli.push_report import markdown
from cli.settings import files
from registry.errors import InvalidError
from registry.model.manifests import annotated
from registry.model.names import DEFAULT_TAG, Name, split_scheme
from registry.targets.manifest_push import MOST_TAGS, PushOptions


@command(*STORE, *NETWORK, *MOVING, goes_on=KEPT_HERE)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--as", "other", metavar="NAME", help="Keep it under another name.")
def pull(invocation: Invocation, names: tuple[str, ...], other: str | None) -> int:
    """Fetch models into the local store; what is there already does not move.

    \b
      ferry pull models.acme.example/acme/tiny:1.0
      ferry pull models.acme.example/acme/tiny:1.0 --as tiny
    """
    if other and len(names) > 1:
        raise InvalidError("--as gives one model another name", hint="pull the models one after another")
    watcher = transfers.watcher(invocation, len(names))
    with sources.store(invocation, watcher.note) as store, sources.connections(invocation) as opened:

        def fetch(name: Name) -> PlannedCopy:
            to = naming.parse(invocation, other) if other else name
            sources.storable(invocation, to, "give it a name of its own here: --as NAME")
            return transfers.pulled(opened, store, name, to)

        return transfers.copy_each(
            invocation, [naming.parse(invocation, name) for name in names], fetch, watcher, opened
        )


@command(*STORE, *NETWORK, *MOVING, goes_on=KEPT_THERE)
@click.argument("names", metavar="NAME [DESTINATION]", nargs=-1, required=True)
@click.option("--to", "place", metavar="HOST/NAMESPACE", help="Where several models go.")
@click.option("--also", "also", multiple=True, metavar="TAG", help="Another tag that it gets there.")
@click.option("--annotation", "annotations", multiple=True, metavar="K=V", help="Words in its manifest.")
@click.option("--if-absent", "if_absent", is_flag=True, help="Move no tag that is there.")
@click.option("--summary", metavar="FILE", help="What was done, as Markdown.")
@click.option("--private", is_flag=True)
@click.option("--public", is_flag=True)
def push(
    invocation: Invocation,
    names: tuple[str, ...],
    place: str | None,
    also: tuple[str, ...],
    annotations: tuple[str, ...],
    if_absent: bool,
    summary: str | None,
    private: bool,
    public: bool,
) -> int:
    """Publish a model at its registry, or as DESTINATION.

    \b
      ferry push models.acme.example/acme/tiny:1.0
      ferry push tiny:1.0 models.acme.example/acme/tiny
    """
    if private and public:
        raise InvalidError("it is --private or --public", hint="leave one of them away; nothing was sent")
    files.check_summary(summary, json=invocation.settings.json)
    visibility = "private" if private else "public" if public else ""
    options = PushOptions(visibility, also, if_absent)
    pairs = _pairs(invocation, names, place)
    others = _others(pairs, also)
    words = _annotations(annotations)
    watcher = transfers.watcher(invocation, len(pairs))
    with sources.store(invocation, watcher.note) as store, sources.connections(invocation) as opened:

        def publish(to: Name) -> PlannedCopy:
            name = pairs[to]
            # What was pulled from a registry lies there under that name, and need not be sent again.
            elsewhere = name.host == to.host and name.repository != to.repository
            near = name if elsewhere else None
            own = None
            if words:
                with sources.telling_tags(store, name):
                    own = store.resolve(name)
            return PlannedCopy(
                store,
                name,
                opened.remote(to, options),
                to,
                transfers.route(str(name), to.text),
                near,
                lambda report: transfers.published(store, name, to, (own or report.manifest).digest),
                also=others[to],
                dry_checks=True,
                manifest=annotated(own, words) if own else None,
            )

        def summarised(copies: transfers.Copies, line: str) -> None:
            failed = [(to.text, error) for to, error in copies.failed]
            files.write_summary(Path(summary or ""), markdown(copies.done, failed, line))

        return transfers.copy_each(
            invocation, list(pairs), publish, watcher, opened, summarised if summary else None
        )


def _pairs(invocation: Invocation, names: tuple[str, ...], place: str | None) -> dict[Name, Name]:
    """What each destination is to hold."""
    if place is None and len(names) > 2:
        raise InvalidError(
            "several models need a place to go", hint="ferry push NAME NAME --to HOST/NAMESPACE"
        )
    models = [naming.parse(invocation, name) for name in names]
    if place is None and len(names) == 2:
        return {naming.published(invocation, names[1], models[0]): models[0]}
    if place is None:
        naming.agree_to_host(invocation, names[0], models[0])
        return {models[0]: models[0]}
    scheme, rest = split_scheme(place)
    host, slash, namespace = rest.strip("/").partition("/")
    if not slash:
        raise InvalidError(f"--to {place}: no namespace", hint="for example --to models.acme.example/acme")
    pairs = {
        Name(host, f"{namespace}/{name.model}", name.tag or DEFAULT_TAG, scheme=scheme): name
        for name in models
    }
    if len(pairs) < len(set(models)):
        raise InvalidError(
            f"--to {place}: two of these models would have the same name there",
            hint="push them one after another, each with its DESTINATION",
        )
    return pairs


def _annotations(given: Iterable[str]) -> dict[str, str]:
    """What the manifest is to say besides. InvalidError."""
    words: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise InvalidError(f"--annotation {each}: no value", hint="for example --annotation version=1.0")
        if words.setdefault(key, value) != value:
            raise InvalidError(f"--annotation {key}: said twice, and not alike")
    return words


def _others(pairs: Iterable[Name], also: tuple[str, ...]) -> dict[Name, tuple[Name, ...]]:
    """The names that each destination's model gets too. InvalidError for what is no tag, or meant twice."""
    if len(also) > MOST_TAGS:
        raise InvalidError(f"--also is there {len(also)} times; a push takes at most {MOST_TAGS}")
    others: dict[Name, tuple[Name, ...]] = {}
    for to in pairs:
        if also and to.digest is not None:
            raise InvalidError(
                f"--also: {to.text} is published by its digest", hint="give it a tag too: DESTINATION:TAG"
            )
        try:
            named = dict.fromkeys(Name(to.host, to.repository, tag, scheme=to.scheme) for tag in also)
        except InvalidError as error:
            raise InvalidError(f"--also: {error.message}", hint="it takes a tag alone, as latest") from None
        others[to] = tuple(each for each in named if each != to)
    meant = Counter(each for to, more in others.items() for each in (to, *more))
    for name, times in meant.items():
        if times > 1:
            raise InvalidError(
                f"{name.text}: two of these models would have this name",
                hint="push them one after another, each with its own --also",
            )
    return others
