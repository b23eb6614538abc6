"""Lists of tags and repositories: every page is found, and a list of any length has its ceiling."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time

import pytest
from registry_double import ORIGIN, Quirks, Registry
from scripted import NAME, answer, remote

from registry.contracts import Publication
from registry.errors import ProtocolError, Reason
from registry.model.digests import Digest
from registry.model.manifests import OCI_MANIFEST
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.links import following
from registry.wire.messages import Request, Response

# How a registry names the next page ({next}: its path). RFC 8288 section 3.
LINKS = {
    "as docker's": '<{next}>; rel="next"',
    "prev first": '</v2/x/tags/list?n=10>; rel="prev", <{next}>; rel="next"',
    "prev first, its target has a comma": '</v2/x?last=a,b;c>; rel="prev", <{next}>; rel="next"',
    "upper case": "<{next}>; REL=NEXT",
    "unquoted": "<{next}>;rel=next",
    "two relations": '<{next}>; rel="last next"',
    "other parameters": '<{next}>; title="a, b; rel=\\"prev\\""; rel="next"; type=x',
    "spaces": '  <{next}>  ;  rel  =  "next"  ',
    "no brackets": '{next}; rel="next"',
    "absolute": f'<{ORIGIN}{{next}}>; rel="next"',
    "quoted pair": '<{next}>; rel="ne\\xt"',
    "empty members": ',, <{next}>; rel="next",',
}


@pytest.mark.parametrize("link", LINKS)
def test_every_page_is_found(link: str) -> None:
    tags = {f"tag{number:02}": (b"{}", "") for number in range(25)}
    registry = Registry(Quirks(link=LINKS[link]), manifests=tags)

    found = list(Remote(Peer(registry, ORIGIN)).tags(NAME))

    assert found == sorted(tags)
    assert registry.count("GET") == 3


@pytest.mark.parametrize(
    "field",
    [
        "",
        "<",
        "<x",
        ";",
        '"',
        "</p>",
        '</p>; rel="prev"',
        '</p>; rel="next-ish"',
        "</p>; rel",
        '</p>; rel="prev"; rel="next"',
        '</p>; title="rel=next"',
        '</p>; rel="next',
        "," * 60_000,
        '"' * 60_000,
        "</p>" + "; a" * 20_000,
    ],
    ids=range(15),
)
def test_what_names_no_next_page_is_the_end_and_costs_no_time(field: str) -> None:
    began = time.process_time()

    assert following([field]) == ""
    assert time.process_time() - began < 5


def test_a_next_page_relative_to_this_one_is_found() -> None:
    asked: list[str] = []

    def far(request: Request) -> Response:
        asked.append(request.target)
        return answer(200, b"{}", **({"Link": '<list?n=1&last=a>; rel="next"'} if len(asked) == 1 else {}))

    assert list(Remote(Peer(far, ORIGIN)).tags(NAME)) == []
    assert asked[1] == "/v2/acme/tiny/tags/list?n=1&last=a"


@pytest.mark.parametrize(
    "target", ["https://evil.example/v2/x", "//evil.example/v2/x", "http://models.example/x"]
)
def test_a_next_page_at_another_place_is_refused(target: str) -> None:
    with pytest.raises(ProtocolError, match="another place"):
        list(remote(answer(200, b"{}", Link=f'<{target}>; rel="next"')).tags(NAME))


# What a page of 4 MiB can be made of: many small values take far more memory than bytes.
PAGES = {
    "short names": b'{"tags":[' + b'"ab",' * 800_000 + b'"z"]}',
    "lists": b'{"tags":[' + b"[]," * 1_300_000 + b"[]]}",
    "objects": b'{"x":[' + b'{"":0},' * 590_000 + b"0]}",
    "numbers": b'{"tags":[' + b"1234," * 800_000 + b"0]}",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_too_many_values_is_refused_before_it_is_read(page: str) -> None:
    with pytest.raises(ProtocolError, match="more than"):
        list(remote(answer(200, PAGES[page])).tags(NAME))


SAID = f'{{"tag":"a","digest":"sha256:{"0" * 64}","at":"2026-11-26T15:00:00Z","by":"ada"}}'
PUBLISHED = {
    "whole": (SAID, 1_795_705_200.0, "ada"),
    "a zone": (SAID.replace("15:00:00Z", "16:00:00+01:00"), 1_795_705_200.0, "ada"),
    "no time": (SAID.replace("2026-11-26T15:00:00Z", "yesterday"), None, "ada"),
    "no text": (SAID.replace('"2026-11-26T15:00:00Z"', "7").replace('"ada"', "[]"), None, ""),
    "after all times": (SAID.replace("2026-11-26T15:00:00Z", "9999-12-31T23:59:59-23:00"), None, "ada"),
    "before all times": (SAID.replace("2026-11-26T15:00:00Z", "0001-01-01T00:00:00+23:00"), None, "ada"),
    "a long name": (SAID.replace("ada", "a" * 5000), 1_795_705_200.0, "a" * 80),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_what_is_said_beside_a_tag_is_read_as_far_as_it_can_be(case: str) -> None:
    entry, moved, by = PUBLISHED[case]
    page = answer(200, f'{{"tags":["a","b"],"published":[{entry}]}}'.encode())
    digest = Digest.parse(f"sha256:{'0' * 64}")
    name = NAME.with_reference("a")
    assert remote(page).publications(NAME) == {"a": Publication(digest, moved, by), "b": None}
    assert remote(page).publication(name) == Publication(digest, moved, by)


@pytest.mark.parametrize(
    "published",
    ["null", "7", '"x"', "{}", "[7]", "[[]]", '[{"tag":[]}]', '[{"tag":"a","digest":"md5:0"}]', f"[{SAID}]"],
)
def test_what_is_said_of_nothing_in_the_list_is_left_out(published: str) -> None:
    page = answer(200, f'{{"tags":["b"],"published":{published}}}'.encode())
    assert remote(page).publications(NAME) == {"b": None}


def test_a_registry_that_says_nothing_is_asked_for_one_page_only() -> None:
    tags = {f"tag{number:02}": (b"{}", "") for number in range(25)}
    registry = Registry(Quirks(), manifests=tags)
    assert Remote(Peer(registry, ORIGIN)).publication(NAME.with_reference("tag24")) is None
    assert registry.count("GET") == 1


def test_a_list_that_breaks_off_is_not_one_that_is_not_there() -> None:
    """A mirror of a namespace left such a repository out, and said that nothing was wrong."""

    def one_page(request: Request) -> Response:
        if "last=v1" in request.target:
            return answer(404, b"{}")
        link = '</v2/acme/tiny/tags/list?last=v1>; rel="next"'
        return answer(200, b'{"name":"acme/tiny","tags":["v1"]}', Link=link)

    with pytest.raises(ProtocolError, match="the list breaks off: listing"):
        Remote(Peer(one_page, ORIGIN)).tags(NAME)


def test_a_list_that_comes_back_to_a_page_ends_at_once() -> None:
    asked = []

    def two_pages(request: Request) -> Response:
        asked.append(request.target)
        other = "b" if "last=a" in request.target else "a"
        link = f'</v2/acme/tiny/tags/list?last={other}>; rel="next"'
        return answer(200, b'{"name":"acme/tiny","tags":["v1"]}', Link=link)

    with pytest.raises(ProtocolError, match="without end"):
        Remote(Peer(two_pages, ORIGIN)).tags(NAME)
    assert len(asked) == 3


def test_errors_that_come_with_200_are_no_empty_page() -> None:
    """A list that ends there lacked the rest of the tags, and nobody was told."""
    pages = [
        answer(
            200, b'{"name":"acme/tiny","tags":["v1"]}', Link='</v2/acme/tiny/tags/list?last=v1>; rel="next"'
        ),
        answer(200, b'{"errors":[{"code":"UNAVAILABLE","message":"later"}]}'),
    ]

    with pytest.raises(ProtocolError, match="errors with 200"):
        remote(*pages).tags(NAME)


def test_a_web_page_is_called_one() -> None:
    page = answer(200, b"<!DOCTYPE html><title>Sign in</title>", Content_Type="text/html")

    with pytest.raises(ProtocolError, match=r"models\.example sent a web page"):
        list(remote(page).tags(NAME))
    with pytest.raises(ProtocolError, match=r"models\.example sent a web page"):
        remote(page).resolve(NAME)


REFERRED = NAME.with_reference(Digest.parse(f"sha256:{'0' * 64}"))


def referrers(pages: int, entries: int, annotation: str = "") -> Remote:
    """A registry with so many referrers, each with an annotation."""

    def far(request: Request) -> Response:
        page = int(request.target.rpartition("=")[2] or 0) if "last=" in request.target else 0
        listed = [
            {
                "mediaType": OCI_MANIFEST,
                "digest": f"sha256:{page * entries + number:064x}",
                "size": 1,
                "annotations": {"is": annotation},
            }
            for number in range(entries)
        ]
        link = f'<{request.path}?last={page + 1}>; rel="next"' if page + 1 < pages else ""
        return answer(200, json.dumps({"manifests": listed}).encode(), Link=link)

    return Remote(Peer(far, ORIGIN))


def test_ten_thousand_referrers_are_found_and_more_are_too_many() -> None:
    assert len(referrers(10, 1000).referrers(REFERRED)) == 10_000

    with pytest.raises(ProtocolError, match="has more than 10000") as raised:
        referrers(11, 1000).referrers(REFERRED)
    assert raised.value.reason is Reason.REFERRERS_UNREADABLE


@pytest.mark.parametrize("annotation", ["x" * 4_200_000, "," * 200_000], ids=["bytes", "values"])
def test_a_first_page_of_referrers_that_is_too_long_is_not_taken_for_none(annotation: str) -> None:
    """Of a registry that sends all at once: the model was mirrored without its signatures, in silence."""
    with pytest.raises(ProtocolError, match="sent more than") as raised:
        referrers(1, 1, annotation).referrers(REFERRED)
    assert raised.value.reason is Reason.REFERRERS_UNREADABLE


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_list_of_referrers_that_breaks_off_is_not_taken_for_none(status: int) -> None:
    whole = referrers(2, 1).peer.transport

    def far(request: Request) -> Response:
        return Response(status) if "last=1" in request.target else whole(request)

    with pytest.raises(ProtocolError, match=f"answered {status}"):
        Remote(Peer(far, ORIGIN)).referrers(REFERRED)


def test_what_is_said_of_referrers_has_a_ceiling() -> None:
    """I8: a thousand pages of one each, with an annotation of 3 MB, took 3.4 GB."""
    with pytest.raises(ProtocolError, match="has more than 8388608 bytes of it"):
        referrers(1000, 1, "x" * 3_000_000).referrers(REFERRED)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("width", [2, 120])
def test_a_list_of_any_length_stays_within_the_clients_memory(width: int) -> None:
    """I8: at most 80 MiB, in a process of its own; {width}: how long its names are."""
    program = textwrap.dedent(f"""
        import itertools, pathlib
        from registry.errors import ProtocolError
        from registry.model.names import Name
        from registry.targets.peer import Peer
        from registry.targets.remote import Remote
        from registry.wire.headers import Headers
        from registry.wire.messages import Origin, Response
        pages = itertools.count()
        def far(request):
            page = next(pages)
            each = 30_000 if {width} < 100 else 20_000
            names = ",".join(f'"{{page * each + at:0{width}}}"' for at in range(each))
            link = f'</v2/acme/tiny/tags/list?last={{page}}>; rel="next"'
            return Response(200, Headers({{"Link": link}}), f'{{{{"tags":[{{names}}]}}}}'.encode())
        try:
            remote = Remote(Peer(far, Origin("https", "models.example", 443)))
            list(remote.tags(Name.parse("models.example/a/b")))
        except ProtocolError as error:
            print(error)
        status = pathlib.Path("/proc/self/status").read_text()  # ru_maxrss counts what was before exec
        print(status.partition("VmHWM:")[2].split()[0])
    """)

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    message, kibibytes = said.splitlines()
    assert "more than" in message
    assert int(kibibytes) < 80 * 1024
