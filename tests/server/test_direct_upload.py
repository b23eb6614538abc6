"""A storage link is good for the bytes of one upload, for an hour, and for nothing and nobody else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from guarded import ORIGIN, Door, key

from registry.model.digests import Digest
from registry.server.depot import DiskDepot
from registry.server.links import UPLOAD_SECONDS
from registry.server.manifests import DAY
from registry.server.principal import Right
from registry.server.receiving import MOST_BYTES
from registry.server.reclaim import Reclaim
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

DATA = bytes(range(256)) * 16
DIGEST = Digest.of(DATA)
WHO = key(1)
TYPE = {"Content_Type": "application/octet-stream"}


class Office:
    """A guarded registry on disk that offers direct uploads (unless told not to), and one who may write."""

    def __init__(self, directory: Path) -> None:
        numbers = itertools.count()
        self.directory = directory
        self.door = Door()
        self.depot = DiskDepot(
            directory, self.door.engine, lambda: self.door.now, lambda: f"s{next(numbers)}"
        )
        self.offer(True)
        self.door.join("acme", WHO)
        self.token = self.door.token(WHO, "repository:acme/tiny:pull,push")

    def offer(self, direct_upload: bool) -> None:
        """Offer direct uploads from now on, or none."""
        self.door.serve(self.depot, direct_upload)

    def ask(self, repository: str = "acme/tiny", token: str = "", **fields: str) -> Response:
        """The POST that asks for a direct upload of DATA."""
        headers = {"X_Redirect_Uploads": "2", "X_Content_Length": str(len(DATA)), **fields}
        target = f"/v2/{repository}/blobs/uploads/?digest={DIGEST}"
        return self.door.ask("POST", target, token=token or self.token, body=b"", **headers)

    def begin(self) -> tuple[str, str]:
        """The paths of the session and of its link."""
        begun = self.ask()
        assert begun.status == 202
        return tuple(  # type: ignore[return-value]
            begun.headers.get(name).removeprefix(ORIGIN) for name in ("Location", "X-Direct-Upload-URL")
        )

    def put(self, link: str, data: bytes = DATA, **fields: str) -> int:
        """The status of a direct upload."""
        return self.door.ask("PUT", link, body=data, **{**TYPE, **fields}).status

    def finish(self, session: str) -> int:
        """The status of the closing PUT."""
        return self.door.ask("PUT", f"{session}?digest={DIGEST}", token=self.token).status

    @property
    def files(self) -> list[Path]:
        """What lies in the data directory."""
        return [path for path in self.directory.rglob("*") if path.is_file()]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_an_offer_says_where_and_with_which_headers(office: Office) -> None:
    begun = office.ask()

    assert begun.headers.get("X-Direct-Upload-URL").startswith(f"{ORIGIN}/v2/_storage/")
    assert begun.headers.get("X-Signed-Header-Content-Type") == "application/octet-stream"
    assert begun.headers.get("Location").startswith(f"{ORIGIN}/v2/acme/tiny/blobs/uploads/")


def test_bytes_put_by_the_link_are_a_blob_once_the_session_is_closed(office: Office) -> None:
    session, link = office.begin()

    assert office.put(link) == 200
    before = office.depot.blob("acme/tiny", DIGEST)
    assert office.finish(session) == 201

    assert before is None
    assert office.depot.blob("acme/tiny", DIGEST) is not None


def test_a_put_may_be_repeated(office: Office) -> None:
    session, link = office.begin()

    assert [office.put(link, b"x" * len(DATA)), office.put(link), office.put(link)] == [200] * 3

    assert office.finish(session) == 201


@pytest.mark.parametrize(
    ("data", "fields", "status"),
    [
        (DATA[:-1], {}, 400),
        (DATA + b"x", {}, 400),
        (b"", {}, 400),
        (DATA, {"Content_Type": "text/plain"}, 403),
        (DATA, {"Content_Type": ""}, 403),
        (DATA, {"Authorization": "Bearer x"}, 403),
        (DATA, {"Authorization": ""}, 403),
    ],
)
def test_what_the_link_was_not_signed_for_is_not_taken(
    office: Office, data: bytes, fields: dict[str, str], status: int
) -> None:
    session, link = office.begin()

    assert office.put(link, data, **fields) == status

    assert office.door.ask("GET", session, token=office.token).headers.get("Range") == "0-0"


def test_a_body_of_unknown_length_is_not_taken(office: Office) -> None:
    _, link = office.begin()
    headers = Headers({"Host": "127.0.0.1:5050", "Content-Type": "application/octet-stream"})

    assert office.door.send(Request("PUT", ORIGIN + link, headers, b"", length=None)).status == 400


def test_a_link_is_good_for_an_hour(office: Office) -> None:
    _, link = office.begin()
    office.door.now += UPLOAD_SECONDS - 1
    assert office.put(link) == 200

    office.door.now += 1

    assert office.put(link) == 403


def test_a_link_dies_with_the_right_behind_it(office: Office) -> None:
    office.door.join("guest", key(2))
    office.door.rights.grant("guest", "acme/tiny", Right.WRITE)
    begun = office.ask(token=office.door.token(key(2), "repository:acme/tiny:pull,push"))
    link = begun.headers.get("X-Direct-Upload-URL").removeprefix(ORIGIN)
    assert office.put(link) == 200

    office.door.rights.grant("guest", "acme/tiny", Right.READ)

    assert office.put(link) == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
def test_a_link_only_stores(office: Office, method: str) -> None:
    _, link = office.begin()
    office.put(link)

    assert office.door.ask(method, link).status == 405


def test_no_other_secret_opens_storage_and_the_link_opens_nothing_else(office: Office) -> None:
    session, link = office.begin()
    secret = link.rpartition("/")[2]
    who, links = office.door.principal(WHO), office.door.links

    for other in (office.token, links.download(ORIGIN, who, "acme/tiny", DIGEST), secret[:-2], "x"):
        assert office.put(f"/v2/_storage/{other}") == 403
    elsewhere = links.upload("http://localhost:5050", who, "acme/tiny", session.rpartition("/")[2], 4096)
    assert office.put(f"/v2/_storage/{elsewhere}") == 403
    assert office.door.ask("GET", f"/v2/_capability/{secret}").status == 404
    assert office.door.ask("GET", session, token=secret).status == 401


def test_the_bytes_of_an_upload_have_no_door_of_their_own(office: Office) -> None:
    session, _ = office.begin()

    assert office.door.ask("PUT", f"{session}/content", token=office.token, body=DATA).status == 405


# --- what asking may do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", ["", "-1", "+5", "1e3", "0x10", "4096.0", "x", str(MOST_BYTES + 1), "9" * 15, "9" * 5000]
)
def test_a_size_that_is_none_is_refused_and_begins_nothing(office: Office, size: str) -> None:
    assert office.ask(X_Content_Length=size).status == 400

    assert office.files == []


@pytest.mark.parametrize("fields", [{"X_Redirect_Uploads": ""}, {"X_Redirect_Uploads": "1"}])
def test_who_does_not_ask_gets_an_ordinary_session(office: Office, fields: dict[str, str]) -> None:
    begun = office.ask(**fields)

    assert begun.status == 202
    offered = [name for name, _ in begun.headers if name.lower().startswith(("x-direct", "x-signed"))]
    assert offered == []


def test_a_registry_that_was_not_told_to_offers_nothing_and_takes_no_link(office: Office) -> None:
    _, link = office.begin()
    office.offer(False)

    begun = office.ask(X_Content_Length="nonsense")

    assert begun.status == 202
    assert "X-Direct-Upload-URL" not in begun.headers
    assert office.put(link) == 404


def test_a_blob_that_only_another_repository_has_is_not_given_away(office: Office) -> None:
    session, link = office.begin()
    office.put(link)
    office.finish(session)
    assert office.ask().status == 201
    office.door.join("stranger", key(3))
    token = office.door.token(key(3), "repository:stranger/x:pull,push")

    assert office.ask("stranger/x", token).status == 202
    assert office.ask(X_Content_Length="17").status == 202


# --- what is left -----------------------------------------------------------------------------------------


def test_a_cancelled_upload_leaves_nothing_and_its_link_brings_nothing_back(office: Office) -> None:
    session, link = office.begin()
    office.put(link)
    assert office.files != []

    assert office.door.ask("DELETE", session, token=office.token).status == 204

    assert office.files == []
    assert office.put(link) == 404
    assert office.files == []


def test_an_upload_that_is_never_closed_is_collected(office: Office) -> None:
    _, link = office.begin()
    office.put(link)
    office.door.now += 25 * 3600

    assert Reclaim(office.depot).run().freed == len(DATA)

    assert office.files == []
    assert office.put(link) == 403


def test_bytes_that_are_not_the_digests_leave_nothing(office: Office) -> None:
    session, link = office.begin()
    office.put(link, b"x" * len(DATA))

    assert office.finish(session) == 400

    assert office.files == []
    assert office.put(link) == 404


def test_two_at_once_do_not_mix_their_bytes(office: Office) -> None:
    session, link = office.begin()
    held = office.depot.upload("acme/tiny", session.rpartition("/")[2])

    status = office.put(link)
    held.close()

    assert status == 429
    assert office.put(link) == 200


@pytest.mark.parametrize("closing", [False, True])
def test_a_blob_that_is_said_to_be_there_is_not_collected_before_its_manifest_comes(
    office: Office, closing: bool
) -> None:
    """Also by the answer to a closing PUT that is sent again."""
    session, link = office.begin()
    office.put(link)
    assert office.finish(session) == 201
    office.door.now += 0.9 * DAY
    office.token = office.door.token(WHO, "repository:acme/tiny:pull,push")
    assert (office.finish(session) if closing else office.ask().status) == 201
    office.door.now += 0.2 * DAY
    Reclaim(office.depot).run()
    assert office.depot.blob("acme/tiny", DIGEST) is not None
