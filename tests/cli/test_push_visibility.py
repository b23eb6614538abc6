"""`ferry push --private|--public`, at the real registries: one that knows it, and one that does not."""

from __future__ import annotations

from collections.abc import Callable

from house import House
from peers import Registry
from person import Ferry
from stored_models import put_model


def test_everybody_or_nobody_reads_what_its_owner_pushed_so(
    house: House, people: Callable[[str], Ferry], ferry: Ferry
) -> None:
    ada, name = people("ada"), f"{house.host}/ada/seen:1"
    put_model(ada.models, f"{house.host}/ada/seen/1")
    ada("push", name, "--public").well()
    assert ferry("pull", name).code == 0
    ada("push", name, "--private").well()  # the same model: nothing moves, and this is said all the same
    assert ferry("pull", name, "--models", ferry.home / "other").code == 3
    ada("push", name).well()
    assert ferry("pull", name, "--models", ferry.home / "other").code == 3


def test_who_may_write_only_is_refused_before_anything_is_sent(
    house: House, people: Callable[[str], Ferry]
) -> None:
    ada, ben = people("ada"), people("ben")
    house.admin("admin", "grant", "ben", "ada/shared", "write", "--data", house.data).well()
    for name, why in (("shared", "only its owner"), ("closed", "you may not change")):
        put_model(ben.models, f"{house.host}/ada/{name}/1")
        done = ben("push", f"{house.host}/ada/{name}:1", "--private")
        assert done.code == 4 and why in done.err
        assert ada("tags", f"{house.host}/ada/{name}").code == 3


def test_a_registry_that_does_not_know_it_is_sent_nothing(docker_registry: Registry, ferry: Ferry) -> None:
    put_model(ferry.models, f"{docker_registry.host}/acme/hidden/1")
    done = ferry("push", f"{docker_registry.host}/acme/hidden:1", "--private")
    assert done.code == 7 and "nothing was sent" in done.err and "--private" in done.err
    assert docker_registry.call("GET", "/v2/acme/hidden/tags/list").status == 404


def test_who_says_both_has_said_neither(ferry: Ferry) -> None:
    done = ferry("push", "tiny", "models.acme.example/acme/tiny", "--public", "--private")
    assert done.code == 2 and "--private or --public" in done.err
