"""Whose disk is full: the registry's is told from this machine's, on both ends of the line."""

from __future__ import annotations

import errno

import pytest
from sample_models import describe
from scripted import NAME, answer, remote

from registry.disk.failures import failure
from registry.errors import NotFoundError, Reason, RegistryError, StorageError, TransientError
from registry.model.manifests import Manifest, image
from registry.wire import faults
from registry.wire.faults import Refusal, answer_to
from registry.wire.messages import Response


def error_of(response: Response, *, writing: bool = True) -> RegistryError:
    body = response.body
    assert isinstance(body, bytes)
    return faults.error_of(Refusal.of(response, body), "pushing", host="models.example", writing=writing)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_ferrys_own_registry_says_that_its_disk_is_full_and_ferry_understands(number: int) -> None:
    told = answer_to(failure(OSError(number, "x"), "writing /srv/secret/place"))

    error = error_of(told)

    assert told.status == 507
    assert b"/srv" not in told.body  # type: ignore[operator]
    assert isinstance(error, StorageError) and error.reason is Reason.REGISTRY_FULL
    assert "models.example has no space left" in error.message


def test_another_failure_of_its_disk_may_pass() -> None:
    assert isinstance(error_of(answer_to(failure(OSError(errno.EIO, "x"), "writing"))), TransientError)


def said(code: str, message: str, status: int = 403) -> Response:
    return faults.fault(code, message, status=status)


FULL = {
    "507": answer(507),
    "Harbor": said(
        "DENIED", "adding 1 GiB of storage resource … will exceed the configured upper limit of 1 GiB"
    ),
    "DENIED, quota": said("DENIED", "Quota exceeded for project"),
    "GitLab": said("DENIED", "your storage quota is used up"),
    "no space": said("UNKNOWN", "write /data/x: no space left on device", 500),
    "CNCF, by errno": answer(
        500,
        b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem",'
        b'"Enclosed":{"Op":"mkdir","Path":"/var/lib/registry","Err":28}}}]}',
    ),
    "CNCF v3": answer(
        500,
        b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"filesystem: write /r/docker/'
        b'registry/v2/repositories/acme/tiny/_uploads/01a2/startedat.tmp: no space left on device"}]}',
    ),
    "its word for it": said("QUOTA_EXCEEDED", "", 413),
}
NOT_FULL = {
    "asked too often": said("TOOMANYREQUESTS", "request quota exceeded", 429),
    "asked too often, 503": said("TOOMANYREQUESTS", "request quota exceeded", 503),
    "denied": said("DENIED", "requested access to the resource is denied"),
    "another errno": answer(500, b'{"errors":[{"code":"UNKNOWN","detail":{"Err":2}}]}'),
    "another failure, of a repository with such a name": answer(
        500,
        b'{"errors":[{"code":"UNKNOWN",'
        b'"detail":"filesystem: write /r/acme/storage_limit: input/output error"}]}',
    ),
    "a busy disk": said("UNAVAILABLE", "the disk is slow", 503),
}


@pytest.mark.parametrize("row", FULL)
def test_a_registry_that_is_full_is_known_by_its_words(row: str) -> None:
    error = error_of(FULL[row])
    assert isinstance(error, StorageError) and error.exit == 8


@pytest.mark.parametrize("row", NOT_FULL)
def test_what_sounds_alike_is_not_a_full_disk(row: str) -> None:
    assert not isinstance(error_of(NOT_FULL[row]), StorageError)


def test_what_is_read_fills_nobodys_disk() -> None:
    assert not isinstance(error_of(FULL["DENIED, quota"], writing=False), StorageError)


def test_a_manifest_that_finds_no_room_ends_the_push_at_once() -> None:
    manifest: Manifest = image(describe(b"{}"), [])
    with pytest.raises(StorageError):
        remote(FULL["GitLab"]).publish(NAME, manifest)
    with pytest.raises(NotFoundError):
        remote(said("NAME_UNKNOWN", "no such project", 404)).publish(NAME, manifest)
