"""Option over environment over settings file over default; what is wrong is named by file, line and key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from person import Ferry

from cli import values
from cli.settings import Settings, resolve
from cli.settings.files import certificates
from cli.settings.lines import Lines
from registry.errors import InvalidError, StorageError


def told(home: Path, given: Mapping[str, object] | None = None, **environ: str) -> Settings:
    return resolve(given or {}, {"HOME": str(home), **environ})


def written(home: Path, text: str) -> Path:
    path = home / ".config" / "ferry" / "settings.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_an_option_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    assert told(tmp_path).get("limit_rate") is None
    written(tmp_path, 'limit_rate = "1M"')
    assert told(tmp_path).get("limit_rate") == 10**6
    assert told(tmp_path, FERRY_LIMIT_RATE="2M").get("limit_rate") == 2 * 10**6
    assert told(tmp_path, {"limit_rate": "3M"}, FERRY_LIMIT_RATE="2M").get("limit_rate") == 3 * 10**6


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('registry = "a.example"\n\nlimitrate = 3\n', 3, "limitrate"),
        ("jobs = 0", 1, "jobs"),
        ("\n\njobs = 65", 3, "jobs"),
        ("jobs = true", 1, "jobs"),
        ('give_up_after = "soon"', 1, "give_up_after"),
        ("give_up_after = 0", 1, "give_up_after"),
        ('stall = "2h"', 1, "stall"),
        ('floor = "2M"', 1, "floor"),
        ("first_pause = true", 1, "first_pause"),
        ('limit_rate = "fast"', 1, "limit_rate"),
        ('limit_rate = "10"', 1, "limit_rate"),
        ('format = "xml"', 1, "format"),
        ('quiet = "perhaps"', 1, "quiet"),
        ('registry = "ftp://a.example"', 1, "registry"),
        ('registry = "a/b"', 1, "registry"),
        ('\n[host."a.example"]\nproxy = 3\n', 3, "host.a.example.proxy"),
        (
            '[host."a.example"]\nplain_http = true\n[host."b.example"]\nplain = true',
            4,
            "host.b.example.plain",
        ),
        ('[host."a.example"]\nrealms = ["ftp://x"]', 2, "host.a.example.realms"),
        ("host = 3", 1, "host"),
    ],
)
def test_a_wrong_setting_is_named_by_file_line_and_key(
    tmp_path: Path, text: str, line: int, key: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidError) as caught:
        told(tmp_path)
    assert caught.value.message.startswith(f"{path}:{line}: {key}: ")


@pytest.mark.parametrize(("text", "line"), [("a = \n", 1), ("\n\n[host\n", 3), ('x = "y', 1)])
def test_a_file_that_is_no_toml_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidError) as caught:
        told(tmp_path)
    assert caught.value.message.startswith(f"{path}:{line}: not TOML")


def test_a_wrong_option_and_a_wrong_variable_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"^--jobs: must be between 1 and 64, not 99"):
        told(tmp_path, {"jobs": "99"})
    with pytest.raises(InvalidError, match=r"^FERRY_PLAIN_HTTP: must be true or false"):
        told(tmp_path, FERRY_PLAIN_HTTP="maybe")


def test_a_settings_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "ferry" / "settings.toml"
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match="reading the settings"):
        told(tmp_path)


@pytest.mark.parametrize(
    ("text", "rate"), [("500K", 500_000), ("20M", 20_000_000), ("1.5g", 1_500_000_000), ("5000", 5000)]
)
def test_rates_are_decimal(tmp_path: Path, text: str, rate: int) -> None:
    assert told(tmp_path, {"limit_rate": text}).get("limit_rate") == rate


def test_a_host_has_settings_of_its_own_and_an_option_beats_them(tmp_path: Path) -> None:
    written(
        tmp_path,
        'tls_ca = "/all.pem"\n[host."A.example"]\ntls_ca = "~/a.pem"\nrealms = ["https://id.example"]',
    )
    settings = told(tmp_path)
    assert settings.place("a.example").tls_ca == tmp_path / "a.pem"
    assert settings.place("https://a.example").realms == ("https://id.example",)
    assert settings.place("b.example").tls_ca == Path("/all.pem")
    assert told(tmp_path, {"tls_ca": "/option.pem"}).place("a.example").tls_ca == Path("/option.pem")
    assert told(tmp_path, {"plain_http": True}).place("b.example").plain_http


def test_dockers_hub_is_one_host_under_each_of_its_names(tmp_path: Path) -> None:
    written(
        tmp_path,
        '[host."docker.io"]\nproxy = "http://proxy.example:3128"\n[host."docker.io/acme"]\nkey = "/k"',
    )
    settings = told(tmp_path)

    assert settings.place("registry-1.docker.io").proxy == "http://proxy.example:3128"
    assert settings.place("index.docker.io").proxy == "http://proxy.example:3128"
    assert settings.account_keys == {"registry-1.docker.io/acme": Path("/k")}


def test_what_is_said_of_a_certificate_means_https_and_the_files_head_speaks_of_no_host(
    tmp_path: Path,
) -> None:
    assert not told(tmp_path).place("localhost:8443").https
    assert told(tmp_path, {"tls_ca": "/ca.pem"}).place("localhost:8443").https
    assert told(tmp_path, FERRY_INSECURE_TLS="1").place("localhost:8443").https
    assert not told(tmp_path, FERRY_INSECURE_TLS="0").place("localhost:8443").https
    written(tmp_path, 'tls_ca = "/all.pem"\n[host."localhost:8443"]\ninsecure_tls = true')
    assert told(tmp_path).place("localhost:8443").https
    assert not told(tmp_path).place("localhost:5000").https


def test_a_bundle_of_certificates_is_read_whatever_is_written_between_them(tmp_path: Path) -> None:
    one = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    bundle = tmp_path / "ca.pem"
    bundle.write_text(f"# F\u0151tan\u00fas\u00edtv\u00e1ny\n{one}\n# and\n{one}\n")
    assert certificates(bundle) == f"{one}\n{one}"

    bundle.write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InvalidError, match="no certificate in PEM form"):
        certificates(bundle)
    with pytest.raises(InvalidError, match="is not there"):
        certificates(tmp_path / "lost.pem")


# --- the store -----------------------------------------------------------------------------------------


def test_the_store_is_the_option_else_ollamas_variable_else_the_file_else_home(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-service"
    assert replace(told(tmp_path), service_store=nowhere).models() == (tmp_path / ".ollama" / "models", "")
    written(tmp_path, 'models = "/from/file"')
    assert told(tmp_path).models()[0] == Path("/from/file")
    assert told(tmp_path, OLLAMA_MODELS="/from/ollama").models()[0] == Path("/from/ollama")
    assert told(tmp_path, {"models": "/said"}, OLLAMA_MODELS="/from/ollama").models()[0] == Path("/said")


def test_the_services_store_is_used_if_it_may_be_written_else_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "service"
    service.mkdir()
    settings = replace(told(tmp_path), service_store=service)
    assert settings.models() == (service, "")
    monkeypatch.setattr("os.access", lambda *_: False)
    place, note = settings.models()
    assert place == tmp_path / ".ollama" / "models"
    assert str(service) in note
    assert str(place) in note


def test_without_any_home_the_error_says_which_option_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    settings = replace(resolve({}, {}), service_store=tmp_path / "none")
    with pytest.raises(InvalidError, match="no home directory") as caught:
        settings.models()
    assert "--models" in caught.value.hint
    with pytest.raises(InvalidError, match="no home directory"):
        settings.key_file()


# --- secrets -------------------------------------------------------------------------------------------


def test_an_api_key_without_its_registry_is_refused(tmp_path: Path) -> None:
    written(tmp_path, 'registry = "a.example"')
    with pytest.raises(InvalidError, match="FERRY_REGISTRY"):
        told(tmp_path, FERRY_API_KEY="hidden")
    keys = told(tmp_path, FERRY_API_KEY="hidden", FERRY_REGISTRY="https://A.example").api_keys
    assert keys == {"https://a.example": "hidden"}


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    settings = told(
        tmp_path,
        FERRY_KEY="hidden",
        FERRY_API_KEY="hidden",
        FERRY_REGISTRY="a.example",
        HTTPS_PROXY="http://u:hidden@p",
    )
    assert settings.key_text == "hidden"
    assert "hidden" not in repr(settings)


def test_a_key_option_beats_the_keys_text(tmp_path: Path) -> None:
    settings = told(tmp_path, {"key": "/said"}, FERRY_KEY="text", FERRY_KEY_FILE="/file")
    assert (settings.key_text, settings.key_file()) == ("", Path("/said"))
    assert told(tmp_path, FERRY_KEY_FILE="/file").key_file() == Path("/file")


# --- proxies -------------------------------------------------------------------------------------------


def test_proxies_come_from_the_environment_and_are_handed_over_as_data(tmp_path: Path) -> None:
    environ = {"https_proxy": "http://low", "HTTPS_PROXY": "http://up", "ALL_PROXY": "http://all"}
    settings = resolve({}, {"HOME": str(tmp_path), "NO_PROXY": "a, b", **environ})
    assert settings.proxies == {"http": "http://all", "https": "http://low"}
    assert settings.no_proxy == ("a", "b")
    assert told(tmp_path).proxies == {}
    assert told(tmp_path).no_proxy == ()


def test_a_proxy_without_a_scheme_is_an_http_proxy_and_a_bad_one_is_named(tmp_path: Path) -> None:
    assert told(tmp_path, https_proxy="proxy.example:3128").proxies == {"https": "http://proxy.example:3128"}
    assert (
        told(tmp_path, FERRY_PROXY="proxy.example:3128").place("a.example").proxy
        == "http://proxy.example:3128"
    )
    for bad in ("socks5://u:hidden@proxy", "http://u:hidden@proxy:many", "http://u:hidden@proxy:99999"):
        with pytest.raises(InvalidError, match=r"^ALL_PROXY: must be a URL like http:") as caught:
            _ = told(tmp_path, ALL_PROXY=bad).proxies
        assert "hidden" not in caught.value.message + caught.value.hint
        with pytest.raises(InvalidError, match=r"^https_proxy: must be a URL"):  # as it was written
            _ = told(tmp_path, https_proxy=bad).proxies


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('# jobs\nregistry = "a.example"\njobs = 0\n', 3),
        ('yes = true\n\n[host."a.example"]\nproxy = "http://p:1"\n[host."b.example"]\nproxy = 3\n', 6),
        ("[host.a]\nplain_http = true\n[host.'b.example']\nplain_http = 3\n", 4),
        ('[host."a.example"]\n"tls_ca" = 3\n', 2),
        ('yes = true\n\n[host."a.example"]\nplain_http = true\n[host."a.example".more]\nx = 1\n', 5),
        ('yes = true\n\n[accounts.me]\nuser = "me"\n', 3),
        ('trusted_proxy = [\n  "10.0.0.0/8",  # one\n  "jobs = 1",\n]\njobs = 0\n', 5),
        ("host.'a.example'.proxy = 3\n", 1),
        ("# a\u2028b\r\njobs = 0\r\n", 2),
    ],
)
def test_the_line_of_a_wrong_key_is_the_one_on_which_it_stands(tmp_path: Path, text: str, line: int) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidError) as caught:
        told(tmp_path)
    assert caught.value.message.startswith(f"{path}:{line}: ")


def test_a_long_list_is_not_read_from_its_beginning_for_each_of_its_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "tags = [\n" + "  'v[12]*',\n" * 1000 + "  'v#]*', # ]\n" * 2 + "] # all\njobs = 1\n"
    read: list[int] = []

    def counted(text: str, whole: Callable[[str], dict[str, object]] = tomllib.loads) -> dict[str, object]:
        read.append(len(text))
        return whole(text)

    monkeypatch.setattr(tomllib, "loads", counted)

    lines = Lines(text)

    assert (lines.of("tags"), lines.of("jobs")) == (1, 1005)
    assert sum(read) < 4 * len(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2H", 7200)]
)
def test_times_are_seconds_unless_they_say_otherwise(tmp_path: Path, text: str, seconds: float) -> None:
    assert told(tmp_path, {"give_up_after": text}).get("give_up_after") == seconds


def test_a_client_certificate_is_a_hosts_own(tmp_path: Path) -> None:
    """In the table of its host, and there only: what is said of all hosts would be shown to all."""
    written(tmp_path, '[host."a.example"]\nclient_cert = "~/a.pem"\nclient_key = "/a.key"')
    settings = told(tmp_path)
    place = settings.place("a.example")
    assert (place.client_cert, place.client_key, place.https) == (tmp_path / "a.pem", Path("/a.key"), True)
    assert settings.place("b.example").client_cert is None
    for text, why in (
        ('client_cert = "/a.pem"', "no such setting"),
        ('[host."a.example"]\nclient_key = "/a.key"', "client_key: means nothing without client_cert"),
        ('[host."a.example/team"]\nclient_cert = "/a.pem"', "no such setting"),
    ):
        written(tmp_path, text)
        with pytest.raises(InvalidError, match=why):
            told(tmp_path)


def test_the_key_of_a_client_certificate_is_read_by_its_owner_alone(ferry: Ferry) -> None:
    key, chain = ferry.home / "a.key", ferry.home / "a.pem"
    written(ferry.home, f'[host."127.0.0.1:9"]\nclient_cert = "{chain}"\nclient_key = "{key}"')
    told = ferry("tags", "https://127.0.0.1:9/acme/tiny")
    assert told.code == 2 and f"no file {key}" in told.err
    key.touch(mode=0o640)
    told = ferry("tags", "https://127.0.0.1:9/acme/tiny")
    assert told.code == 4 and f"chmod 600 {key}" in told.err


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [(1, 36_500 * 86_400, "1s and 36500d"), (0, 7 * 86_400, "0s and 7d"), (0.5, 5_400, "0.5s and 90m")],
)
def test_the_bounds_of_a_time_are_said_as_times_are_written(least: float, most: float, said: str) -> None:
    with pytest.raises(InvalidError, match=f"^must be between {said}$"):
        values.seconds(least, most)("99999d")
