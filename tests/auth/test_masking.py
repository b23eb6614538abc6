"""What a peer says is shown without anything of ours in it, however it spells it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
from session_kit import BLOB, KEY, READING, UPLOADS, WRITING, session
from spy import Seen, Spy, Talk, reply, whole

from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, Login, shown_as
from registry.errors import DeniedError, RegistryError
from registry.net.http import Http
from registry.targets.peer import Peer
from registry.wire import masking
from registry.wire.masking import Masking, password_of
from registry.wire.messages import Origin, Request, Response

SECRET = 'pä/ss+"wörd"=&x~~~???'  # in base64 with + and /


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "spell",
    [
        str,
        quote,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower(),
        quote_plus,
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        b64,
        lambda text: b64(text).rstrip("="),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
        lambda text: b64(f"u:{text}"),
        lambda text: b64(f"me:{text}!"),
        lambda text: b64(f"Basic {text}"),
    ],
)
def test_a_secret_is_masked_however_it_is_spelled(spell: Callable[[str], str]) -> None:
    mask = Masking()
    mask.keep(SECRET)

    shown = mask(f"you sent <{spell(SECRET)}> to me")

    assert "***" in shown and shown.startswith("you sent <") and shown.endswith("> to me")
    assert spell(SECRET).strip("=")[4:-4] not in shown


def test_a_short_secret_is_masked_as_a_word_and_leaves_words_alone() -> None:
    mask = Masking()
    mask.keep("pw", "", "1234567")
    assert mask("a91234567f, 1234567!") == "a91234567f, ***!"
    assert mask(f"Basic {b64('1234567')}") == "Basic ***=="

    assert mask("pw, spwan, (pw) =pw") == "***, spwan, (***) =***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "see https://s3.example/b?X-Amz-Signature=abc&x=1",
            "see https://s3.example/b?X-Amz-Signature=***&x=1",
        ),
        ("at /v2/_capability/abc.def gone", "at /v2/_capability/*** gone"),
        ("open https://a.example/connect?name=x&key=y", "open https://a.example/connect?name=x&key=y"),
    ],
)
def test_a_link_that_carries_a_permission_is_masked(text: str, shown: str) -> None:
    assert Masking()(text) == shown


def test_a_link_that_was_given_is_masked_whatever_its_parameters_are_called() -> None:
    mask = Masking()
    mask.link("https://storage.example/x?verify=1700000000-abcdefgh&n=2#f")

    assert mask("no: verify=1700000000-abcdefgh&n=2") == "no: ***"
    assert mask("no: 1700000000-abcdefgh") == "no: ***"


def test_what_passes_is_masked_for_a_while_and_what_is_kept_for_ever() -> None:
    mask = Masking()
    mask.keep("kept-secret")
    for number in range(1000):
        mask.passing(f"token-number-{number}")

    assert mask("kept-secret token-number-999") == "*** ***"
    assert mask("token-number-1") == "token-number-1"


def test_a_private_key_and_a_proxys_password_are_known() -> None:
    mask = Masking()
    mask.keep(*shown_as(KEY), password_of("http://me:hidden@proxy.example:3128"))

    told = mask(f"{KEY.openssh()} {KEY.seed.hex()} {b64(KEY.seed.hex())} hidden")
    assert KEY.seed.hex() not in told and "hidden" not in told
    assert all(line not in told for line in KEY.openssh().splitlines()[1:-1])
    assert mask(KEY.public.line) == KEY.public.line


# --- in a session -------------------------------------------------------------------------------------------


def repeats(status: int, where: str) -> Callable[[Talk, Seen], None]:
    """A registry that says back what it was sent: at its token server, or everywhere else."""

    def script(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        said = seen.header("Authorization") or ""
        document = {"errors": [{"code": "DENIED", "message": f"you sent {said} and {b64(said)}"}]}
        refusal = reply(status, json.dumps(document).encode())
        if seen.target.startswith("/token"):
            talk.send(refusal if where == "token" else reply(200, b'{"token":"the-token-given"}'))
        elif said:
            talk.send(refusal)
        else:
            talk.send(reply(401, WWW_Authenticate=f'Bearer realm="{talk.spy.url}/token",scope="x:y:push"'))

    return script


@pytest.mark.parametrize("where", ["token", "registry"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("secret", [KEY, Login("me", "the-password")])
def test_what_a_registry_repeats_of_us_is_in_no_error(
    where: str, status: int, secret: PrivateKey | Login, http: Http
) -> None:
    with Spy((repeats(status, where),)) as spy:
        peer = Peer(session(http, spy, secret=secret), Origin.of(spy.url))
        with pytest.raises(RegistryError) as caught:
            peer.ask("POST", UPLOADS, "asking", ok=(200,), access=WRITING)

        error = caught.value
        sent = [seen.header("Authorization") or "" for seen in spy.seen]
        told = f"{error} {error.message} {error.hint} {error.detail}"
        for value in filter(None, (text.replace(":", " ").split(" ")[-1] for text in sent)):
            assert value not in told and b64(value)[:20] not in told
        assert "the-password" not in told and "the-token-given" not in told
        if status != 401 or where == "token":
            assert "***" in told


def test_a_refusal_that_is_handed_on_repeats_nothing(http: Http) -> None:
    with Spy((repeats(400, "registry"),)) as spy:
        answer = session(http, spy)(Request("GET", spy.url + BLOB, access=READING))

        assert (answer.status, b"the-token-given" in whole(answer)) == (400, False)


def test_a_signed_link_is_not_repeated_by_storage(http: Http) -> None:
    permission = "verify=1700000000-abcdefghijklmn"
    storage = Spy((reply(500, f"cannot serve {permission}".encode()),))
    with storage, Spy((reply(307, Location=f"{storage.url}/x?{permission}"),)) as spy:
        answer = session(http, spy)(Request("GET", spy.url + BLOB, access=READING))

        assert whole(answer) == b"cannot serve ***"


def test_an_error_that_is_raised_is_masked_in_all_its_parts() -> None:
    mask = Masking()
    mask.keep("the-secret")
    error = DeniedError("no the-secret", hint="try the-secret", detail="the-secret")
    mask.error(error)

    assert "the-secret" not in f"{error} {error.message} {error.hint} {error.detail}"


def test_a_success_is_handed_on_as_it_is() -> None:
    body = iter([b"the bytes"])

    def transport(_: Request) -> Response:
        return Response(200, body=body, length=9)

    with Spy((reply(200),)) as spy:
        assert session(transport, spy, secret=None)(Request("GET", spy.url + BLOB)).body is body


def test_an_api_keys_text_is_known() -> None:
    assert shown_as(ApiKey("K" * 20)) == ("K" * 20,)


def test_a_secrets_spellings_are_worked_out_once_and_never_for_an_answer_without_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out: list[str] = []
    spellings = masking._spellings

    def counted(secret: str) -> Iterator[str]:
        worked_out.append(secret)
        return spellings(secret)

    monkeypatch.setattr(masking, "_spellings", counted)
    mask = Masking()
    mask.passing("first-secret")
    assert (mask(""), worked_out) == ("", [])

    assert mask("it was first-secret") == "it was ***"
    mask.passing("second-secret")
    assert mask("first-secret, second-secret") == "***, ***"

    assert worked_out == ["first-secret", "second-secret"]
