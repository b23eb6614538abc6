"""Who a command says we are, what of it is told, and that only `signin` makes a key."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from house import House
from person import Ferry
from spy import Seen, Spy, Talk, reply
from stored_models import put_model

from cli.settings import logins
from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey, ensure_key
from registry.auth.secrets import Login
from registry.errors import InvalidError
from registry.wire.messages import Origin

KEY = PrivateKey(bytes(range(32)))
TAGS = reply(200, b'{"tags":[]}')


def auths(**entries: str) -> str:
    coded = {host: {"auth": b64encode(pair.encode()).decode()} for host, pair in entries.items()}
    return json.dumps({"auths": coded})


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def wants_basic(password: str) -> Callable[[Talk, Seen], None]:
    """A registry that lets in whoever gives this password."""
    good = "Basic " + b64encode(password.encode()).decode()

    def script(talk: Talk, seen: Seen) -> None:
        ok = seen.header("Authorization") == good
        talk.send(TAGS if ok else reply(401, b"who?", WWW_Authenticate='Basic realm="x"'))

    return script


# --- keys ---------------------------------------------------------------------------------------------------


def test_only_signin_makes_a_key(ferry: Ferry, house: House) -> None:
    key = ferry.home / ".ollama" / "id_ed25519"
    pulled = ferry("pull", f"{house.host}/ada/tiny")
    asked = ferry("whoami", house.host)

    assert not key.exists()
    assert (pulled.code, asked.code) == (3, 4)
    assert "asked as nobody in particular: there is no key or login for it" in pulled.err
    assert f"no key at {key}" in asked.err and f"ferry signin {house.host}" in asked.err

    assert ferry("signin", house.host, "--give-up-after", "0").code == 4
    assert key.exists() and "does not know your key" in ferry("whoami", house.host).err


def test_a_default_key_that_others_may_read_is_not_used_and_says_the_ways_out(ferry: Ferry) -> None:
    key = ferry.home / ".ollama" / "id_ed25519"
    put(key, KEY.openssh())
    key.chmod(0o644)
    with Spy((TAGS,)) as spy:
        done = ferry("tags", f"{spy.netloc}/acme/tiny")

    assert f"chmod 600 {key}" in done.err and "FERRY_KEY" in done.err
    assert all(seen.header("Authorization") is None for seen in spy.seen)


@pytest.mark.parametrize("variable", ["FERRY_KEY", "FERRY_KEY_FILE", "FERRY_API_KEY"])
@pytest.mark.parametrize("value", ["", " \n"])
def test_a_secret_that_is_set_and_empty_is_said(variable: str, value: str, ferry: Ferry) -> None:
    ferry = Ferry(ferry.home, {variable: value, "FERRY_REGISTRY": "127.0.0.1:1"})
    done = ferry("tags", "127.0.0.1:1/acme/tiny")

    assert done.code == 2
    assert f"{variable} is set, but empty" in done.err
    assert ferry("list").code == 0


def test_a_key_that_is_given_makes_up_for_an_empty_secret(ferry: Ferry) -> None:
    ensure_key(ferry.home / "key", KEY.seed)
    with Spy((TAGS,)) as spy:
        assert ferry("tags", f"{spy.netloc}/acme/tiny", "--key", ferry.home / "key", FERRY_KEY="").code == 0


@pytest.mark.parametrize(
    "text",
    [
        b64encode(KEY.openssh().encode()).decode(),
        KEY.openssh().strip().replace("\n", "\\n"),
    ],
    ids=["base64", "backslashes"],
)
def test_a_key_in_one_line_is_taken(text: str, ferry: Ferry) -> None:
    with Spy((reply(404), reply(200, b'{"name":"ada"}'))) as spy:
        done = ferry("whoami", spy.netloc, FERRY_KEY=text).well()

    assert KEY.public.fingerprint in done.out


def test_a_mounted_key_that_others_may_read_is_told_the_way_out(ferry: Ferry) -> None:
    path = put(ferry.home / "key", KEY.openssh())
    path.chmod(0o440)

    done = ferry("tags", "127.0.0.1:1/acme/tiny", "--key", path)

    assert done.code == 4
    assert f"chmod 600 {path}" in done.err and "FERRY_API_KEY" in done.err


def test_two_accounts_of_one_registry_work_in_one_copy(
    house: House, people: Callable[[str], Ferry], ferry: Ferry
) -> None:
    """Ada's and Ben's namespaces are closed to one another; one person has a key for each."""
    ada, ben = people("ada"), people("ben")
    put_model(ada.models, f"{house.host}/ada/secret/1")
    ada("push", f"{house.host}/ada/secret:1").well()
    ferry.settings(
        "".join(
            f'[host."{house.host}/{name}"]\nkey = "{person.home}/.ollama/id_ed25519"\n'
            for name, person in (("ada", ada), ("ben", ben))
        )
    )

    told = (
        ferry("mirror", f"{house.host}/ada/secret:1", f"{house.host}/ben/copy", "--format", "json")
        .well()
        .json
    )

    assert told["digest"] and all(blob["how"] in ("uploaded", "present") for blob in told["blobs"])
    assert ben("tags", f"{house.host}/ben/copy").code == 0
    assert ada("tags", f"{house.host}/ben/copy").code == 3


def test_a_mirror_of_many_is_each_account_in_its_namespace(
    house: House, people: Callable[[str], Ferry], ferry: Ferry
) -> None:
    """One file with both directions: neither account alone could read, or write, what the other may."""
    names = ("ada", "ben")
    for name in names:
        put_model(people(name).models, f"{house.host}/{name}/weights/1", weights=b"GGUF" + name.encode())
        people(name)("push", f"{house.host}/{name}/weights:1").well()
    ferry.settings(
        "".join(
            f'[host."{house.host}/{name}"]\nkey = "{people(name).home}/.ollama/id_ed25519"\n'
            for name in names
        )
    )
    sync = ferry.home / "sync.toml"
    sync.write_text(
        "".join(
            f'[[mirror]]\nsource = "{house.host}/{one}/weights"\n'
            f'destination = "{house.host}/{other}/from-{one}"\n'
            for one, other in (names, names[::-1])
        )
    )

    first = ferry("mirror", "--file", sync, "--format", "json").well().json
    again = ferry("mirror", "--file", sync, "--format", "json").well().json

    assert [row["how"] for row in first] == ["copied"] * 2
    assert [row["how"] for row in again] == ["present"] * 2
    assert people("ada")("tags", f"{house.host}/ada/from-ben").code == 0
    assert people("ada")("tags", f"{house.host}/ben/from-ada").code == 3
    alone = ferry("mirror", "--file", sync, "--key", people("ada").home / ".ollama" / "id_ed25519")
    assert alone.code in (3, 4)


# --- docker's and Podman's logins ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "environ"),
    [
        (".docker/config.json", {}),
        ("d/config.json", {"DOCKER_CONFIG": "{home}/d"}),
        ("any.json", {"REGISTRY_AUTH_FILE": "{home}/any.json"}),
        ("run/containers/auth.json", {"XDG_RUNTIME_DIR": "{home}/run"}),
        ("x/containers/auth.json", {"XDG_CONFIG_HOME": "{home}/x"}),
        (".config/containers/auth.json", {}),
        (".config/containers/auth.json", {"XDG_CONFIG_HOME": "{home}/x", "XDG_RUNTIME_DIR": "{home}/run"}),
        (".config/containers/auth.json", {"REGISTRY_AUTH_FILE": "{home}/none.json"}),
        ("", {"DOCKER_AUTH_CONFIG": auths(**{"a.example": "me:pw"})}),
    ],
)
def test_logins_are_found_wherever_they_are_left(path: str, environ: dict[str, str], tmp_path: Path) -> None:
    if path:
        put(tmp_path / path, auths(**{"a.example": "me:pw"}))
    environ = {key: value.replace("{home}", str(tmp_path)) for key, value in environ.items()}

    configs = tuple(logins.found(environ, tmp_path))

    account = Credentials(docker=configs).account(Origin.of("https://a.example"))
    assert list(account.secrets(lambda _: None)) == [Login("me", "pw")]


def test_a_file_that_cannot_be_read_is_a_fault_and_not_an_end(tmp_path: Path) -> None:
    (tmp_path / ".docker" / "config.json").mkdir(parents=True)
    put(tmp_path / ".config" / "containers" / "auth.json", auths(**{"a.example": "me:pw"}))

    broken, good = logins.found({}, tmp_path)

    assert "config.json" in broken.faults[0].message and not good.faults


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", '{"credsStore":"desktop"}', '{"auths":{"other.example":{"auth":"%%%"}}}'],
    ids=["empty", "garbage", "no helper", "odd entry"],
)
def test_what_is_broken_is_no_error_where_no_login_is_needed(text: str, ferry: Ferry) -> None:
    put(ferry.home / ".docker" / "config.json", text)
    with Spy((TAGS,)) as spy:
        done = ferry("tags", f"{spy.netloc}/acme/tiny").well()

    assert len(done.err.splitlines()) == (0 if "desktop" in text else 1), done.err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nonsense", "config.json is not JSON"),
        ('{"credsStore":"desktop"}', "docker-credential-desktop"),
        ('{"auths":{"HOST":{"auth":"%%%"}}}', "auth is not base64"),
    ],
)
def test_what_is_broken_is_named_where_the_host_refuses_us(text: str, named: str, ferry: Ferry) -> None:
    with Spy((reply(401, WWW_Authenticate='Basic realm="x"'),)) as spy:
        path = put(ferry.home / ".docker" / "config.json", text.replace("HOST", spy.netloc))
        done = ferry("tags", f"{spy.netloc}/acme/tiny", "--format", "json")

    assert done.code == 4
    assert named in done.json["error"]["message"] and str(path) in done.json["error"]["message"]
    assert named in done.err.splitlines()[0]


def test_a_helper_is_a_program_and_its_password_is_used(ferry: Ferry) -> None:
    program = put(
        ferry.home / "bin" / "docker-credential-mine", '#!/bin/sh\necho \'{"Username":"me","Secret":"pw"}\'\n'
    )
    program.chmod(0o755)
    put(ferry.home / ".docker" / "config.json", '{"credsStore":"mine"}')
    with Spy((wants_basic("me:pw"),)) as spy:
        ferry("tags", f"{spy.netloc}/acme/tiny", PATH=f"{program.parent}:{ferry.env()['PATH']}").well()


@pytest.mark.parametrize(
    ("body", "known"),
    [("echo credentials not found in native keychain; exit 1", True), ("echo locked >&2; exit 1", False)],
)
def test_a_helper_that_fails_is_told_from_one_that_knows_nothing(
    body: str, known: bool, tmp_path: Path
) -> None:
    program = put(tmp_path / "docker-credential-x", f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    if known:
        assert logins.ask_helper(str(program), "a.example") is None
    else:
        with pytest.raises(InvalidError, match="failed: locked"):
            logins.ask_helper(str(program), "a.example")


def test_a_wrong_password_is_said_as_that(ferry: Ferry) -> None:
    with Spy((wants_basic("me:right"),)) as spy:
        put(ferry.home / ".docker" / "config.json", auths(**{spy.netloc: "me:wrong"}))
        done = ferry("tags", f"{spy.netloc}/acme/tiny")

        assert done.code == 4 and "does not accept the password of me" in done.err
        assert "token" not in done.err and f"docker login {spy.netloc}" in done.err
        assert len(spy.seen) == 2


# --- other places that may be asked for a token -----------------------------------------------------------


@pytest.mark.parametrize("how", ["option", "environment", "settings", "nothing"])
def test_a_realm_elsewhere_is_asked_where_it_is_allowed(how: str, ferry: Ferry) -> None:
    def registry(talk: Talk, seen: Seen) -> None:
        challenge = f'Bearer realm="{realm.url}/token",scope="repository:acme/tiny:pull"'
        good = seen.header("Authorization") == "Bearer T"
        talk.send(TAGS if good else reply(401, WWW_Authenticate=challenge))

    with Spy((reply(200, b'{"token":"T"}'),)) as realm, Spy((registry,)) as spy:
        if how == "settings":
            ferry.settings(f'[host."{spy.netloc}"]\nrealms = ["{realm.url}"]\n')
        option = ("--realm", realm.url) if how == "option" else ()
        environ = {"FERRY_REALMS": f"https://id.example {realm.url}"} if how == "environment" else {}
        person = Ferry(ferry.home, {"FERRY_KEY": KEY.openssh(), **environ})
        done = person("tags", f"{spy.netloc}/acme/tiny", *option)

        assert (done.code, len(realm.seen)) == ((4, 0) if how == "nothing" else (0, 1))
        if how == "nothing":
            assert f"--realm {realm.url}" in done.err


# --- what is shown of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--debug",), ("--format", "json")])
def test_a_registry_that_repeats_our_secrets_does_not_have_them_shown(
    words: tuple[str, ...], ferry: Ferry
) -> None:
    def script(talk: Talk, seen: Seen) -> None:
        said = seen.header("Authorization") or ""
        code = b64encode(said.encode()).decode()
        body = f'{{"errors":[{{"code":"DENIED","message":"{said} {code}, me:the-password"}}]}}'
        talk.send(reply(403 if said else 401, body.encode(), WWW_Authenticate='Basic realm="x"'))

    with Spy((script,)) as spy:
        put(ferry.home / ".docker" / "config.json", auths(**{spy.netloc: "me:the-password"}))
        done = ferry("tags", f"{spy.netloc}/acme/tiny", *words)

    assert done.code == 4 and "***" in done.out + done.err
    coded = b64encode(b"me:the-password").decode()
    for secret in ("the-password", coded, b64encode(f"Basic {coded}".encode()).decode()[:24]):
        assert secret not in done.out + done.err


def test_a_list_does_not_show_our_secrets_either(ferry: Ferry) -> None:
    def script(talk: Talk, seen: Seen) -> None:
        name = b'{"tags":["the-api-key"]}'
        head = reply(200, Docker_Content_Digest=f"sha256:{'0' * 64}")
        talk.send(reply(200, name) if "tags" in seen.target else head)

    with Spy((script,)) as spy:
        person = Ferry(ferry.home, {"FERRY_REGISTRY": spy.netloc, "FERRY_API_KEY": "the-api-key"})
        for form in ("text", "json"):
            done = person("tags", f"{spy.netloc}/acme/tiny", "--format", form).well()
            assert "***" in done.out and "the-api-key" not in done.out


@pytest.mark.parametrize("words", [("--format", "json"), ("--progress", "json"), ("--progress", "plain")])
def test_a_password_of_any_signs_is_in_no_document_and_no_note(words: tuple[str, ...], ferry: Ferry) -> None:
    """JSON spells quotes and letters in its own way; a document stays one whatever it hides."""
    password = 'w\u00f6rd+&"6'

    def script(talk: Talk, seen: Seen) -> None:
        said = {"code": "DENIED", "message": f"you sent {password}, {json.dumps(password)}"}
        body = json.dumps({"errors": [said]}).encode()
        status = 503 if seen.header("Authorization") else 401
        talk.send(reply(status, body, WWW_Authenticate='Basic realm="x"'))

    with Spy((script,)) as spy:
        put(
            ferry.home / ".docker" / "config.json",
            auths(**{spy.netloc: f"me:{password}", "other.example": "a:503"}),
        )
        done = ferry(
            "pull", f"{spy.netloc}/acme/tiny", *words, "--give-up-after", "1s", FERRY_FIRST_PAUSE="0.1"
        )

    assert done.code == 6 and "***" in done.out + done.err
    assert "rd+&" not in done.out + done.err
    if "--format" in words:
        assert done.json["error"]["exit"] == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/etc/ferry/key", "holds a path"),
        ("~/.ollama/id_ed25519", "FERRY_KEY_FILE names a file"),
        ("$FERRY_SECRET", "holds a variable's name"),
    ],
)
def test_a_path_or_a_variables_name_is_no_key(text: str, words: str, ferry: Ferry) -> None:
    for command in ("whoami", "doctor"):
        done = ferry(command, "127.0.0.1:1", FERRY_KEY=text)
        assert words in " ".join((done.err + done.out).split()), done
