"""Names: what is one, what it means, and what an Ollama store can hold (PROTOCOL section 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.model.names import Name, is_host, names_host

OLLAMA = "registry.ollama.ai"
HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"

# text: (scheme, host, repository, tag, digest)
ACCEPTED = {
    "llama3": ("", OLLAMA, "library/llama3", "latest", ""),
    "llama3:8b": ("", OLLAMA, "library/llama3", "8b", ""),
    "Llama3:8B": ("", OLLAMA, "library/Llama3", "8B", ""),
    "m": ("", OLLAMA, "library/m", "latest", ""),
    "_": ("", OLLAMA, "library/_", "latest", ""),
    "_m:_t": ("", OLLAMA, "library/_m", "_t", ""),
    "1:2": ("", OLLAMA, "library/1", "2", ""),
    "m.x-y_z:t.x-y_z": ("", OLLAMA, "library/m.x-y_z", "t.x-y_z", ""),
    "m-": ("", OLLAMA, "library/m-", "latest", ""),
    "m.": ("", OLLAMA, "library/m.", "latest", ""),
    "m..m": ("", OLLAMA, "library/m..m", "latest", ""),
    "a/b": ("", OLLAMA, "a/b", "latest", ""),
    "a/b:c": ("", OLLAMA, "a/b", "c", ""),
    "_a/b": ("", OLLAMA, "_a/b", "latest", ""),
    "a-b_c/d": ("", OLLAMA, "a-b_c/d", "latest", ""),
    "localhost/b": ("", OLLAMA, "localhost/b", "latest", ""),  # one slash: a namespace, no host
    "h/a/b": ("", "h", "a/b", "latest", ""),
    "h/a/b:c": ("", "h", "a/b", "c", ""),
    "h:5000/a/b": ("", "h:5000", "a/b", "latest", ""),
    "h:5000/a/b:c": ("", "h:5000", "a/b", "c", ""),
    "127.0.0.1:5000/a/b": ("", "127.0.0.1:5000", "a/b", "latest", ""),
    "models.acme.example/acme/tiny:1.0": ("", "models.acme.example", "acme/tiny", "1.0", ""),
    "H.Example/A/B:C": ("", "H.Example", "A/B", "C", ""),
    "hf.co/user/repo:Q4_K_M": ("", "hf.co", "user/repo", "Q4_K_M", ""),
    "hf.co/user/repo.v1-GGUF:Q8_0": ("", "hf.co", "user/repo.v1-GGUF", "Q8_0", ""),
    "my_host/a/b": ("", "my_host", "a/b", "latest", ""),
    "h:1/a/b": ("", "h:1", "a/b", "latest", ""),
    "h:65535/a/b": ("", "h:65535", "a/b", "latest", ""),
    # deeper and odder: plain OCI registries
    "h/a/b/c": ("", "h", "a/b/c", "latest", ""),
    "ghcr.io/org/team/proj/model:v1": ("", "ghcr.io", "org/team/proj/model", "v1", ""),
    "h/a.b/c": ("", "h", "a.b/c", "latest", ""),
    "h:5000/a/b/c/d/e/f:t": ("", "h:5000", "a/b/c/d/e/f", "t", ""),
    # with a scheme
    "https://h/a/b": ("https", "h", "a/b", "latest", ""),
    "http://h/a/b": ("http", "h", "a/b", "latest", ""),
    "HTTPS://h/a/b": ("https", "h", "a/b", "latest", ""),
    "http://h:5000/a/b:c": ("http", "h:5000", "a/b", "c", ""),
    "https://h/m": ("https", "h", "m", "latest", ""),
    "//h/m": ("", "h", "m", "latest", ""),  # a host, and a repository of one part
    f"//h:5000/m:t@{DIGEST}": ("", "h:5000", "m", "t", DIGEST),
    "//h/a/b": ("", "h", "a/b", "latest", ""),
    "https://m": ("https", OLLAMA, "library/m", "latest", ""),
    "https://registry.ollama.ai/library/m:t": ("https", OLLAMA, "library/m", "t", ""),
    # with a digest
    f"m@{DIGEST}": ("", OLLAMA, "library/m", "", DIGEST),
    f"a/b@{DIGEST}": ("", OLLAMA, "a/b", "", DIGEST),
    f"h/a/b@{DIGEST}": ("", "h", "a/b", "", DIGEST),
    f"h:5000/a/b:t@{DIGEST}": ("", "h:5000", "a/b", "t", DIGEST),
    f"https://h/a/b@sha512:{HEX}{HEX}": ("https", "h", "a/b", "", f"sha512:{HEX}{HEX}"),
    # addresses in brackets
    "[::1]/a/b": ("", "[::1]", "a/b", "latest", ""),
    "[::1]:5000/a/b:c": ("", "[::1]:5000", "a/b", "c", ""),
    "http://[2001:db8::1]:5000/a/b": ("http", "[2001:db8::1]:5000", "a/b", "latest", ""),
    # as long as it may be
    "m" * 80: ("", OLLAMA, f"library/{'m' * 80}", "latest", ""),
    f"m:{'t' * 80}": ("", OLLAMA, "library/m", "t" * 80, ""),
    f"h/a/b:{'t' * 128}": ("", "h", "a/b", "t" * 128, ""),
    f"{'n' * 80}/m": ("", OLLAMA, f"{'n' * 80}/m", "latest", ""),
    f"{'h' * 350}/a/b": ("", "h" * 350, "a/b", "latest", ""),
    "zz:local": ("", OLLAMA, "library/zz", "local", ""),
    "m:cloud": ("", OLLAMA, "library/m", "cloud", ""),
}

REFUSED = [
    *("", " ", "\n", "\t", "/", "//", ":", "@", ".", "-", "..", "a b", "a\x00b", "a\nb", " m", "m ", "m\n"),
    *(
        "m:",
        ":t",
        "a/b:",
        "h/a/b:",
        "m::t",
        "m:t:u",
        "m:t/",
        "/m",
        "m/",
        "a//b",
        "h//b",
        "//m",
        "//h/",
        "///m",
        "https:////h/m",
        "h/a//b",
        "h/a/b/",
    ),
    *("-m", ".m", "m:-t", "m:.t", "-a/b", "a/-b", "h/-a/b", "-h/a/b", ".h/a/b", "../m", "h/../b", "h/a/.."),
    *(
        "a.b/c",
        "h:5000/b",
        "127.0.0.1/b",
        "a:b/c",
        "m+x",
        "m!",
        "m*",
        "m?x",
        "m#x",
        "m%41",
        "m\\n",
        "~m",
        "m,n",
    ),
    *("m$", "a/b:c d", "a/b:c+d", "m;x", "m=x", "m&x", "m'", 'm"', "m|n", "(m)", "{m}", "<m>", "m`"),
    *("é", "mödel", "h/a/ö", "m:ö", "\u0430/b", "a\u200bb", "m\u202e", "\ufeffm", "\x7f", "m\x1b[31m"),
    *(
        "ftp://h/a/b",
        "file:///etc/passwd",
        "://h/a/b",
        "https://",
        "https:///a/b",
        "http://h/",
        "https:/h/a/b",
    ),
    *("https://u@h/a/b", "u:p@h/a/b", "https://u:p@h/a/b", "https://https://h/a/b", "httpss://h/a/b"),
    *(
        "h:/a/b",
        "h:0/a/b",
        "h:65536/a/b",
        "h:99999/a/b",
        "h:port/a/b",
        "h:80:80/a/b",
        ":5000/a/b",
        "h:+1/a/b",
    ),
    *(
        "[::1/a/b",
        "::1]/a/b",
        "[]/a/b",
        "[::1]x/a/b",
        "[::1]:/a/b",
        "[::1]:0/a/b",
        "[g::1]/a/b",
        "[::1]:70000/a/b",
    ),
    *(
        "m@",
        "m@sha256",
        "m@sha256:",
        f"m@{HEX}",
        f"m@sha256:{HEX[:-1]}",
        f"m@sha256:{HEX}0",
        "m@md5:" + "0" * 32,
    ),
    *(f"m@sha256:{HEX.upper()}", f"m@sha256-{HEX}", f"@{DIGEST}", f"m@{DIGEST}:t", f"m@{DIGEST}@{DIGEST}"),
    *(
        f"{'n' * 81}/m",
        f"h/a/b:{'t' * 129}",
        f"{'h' * 351}/a/b",
        f"h/{'a' * 256}",
        f"h/a/{'b' * 256}",
        "m" * 1025,
    ),
    "h/" + "/".join(["a" * 50] * 6),
]

# Names that Ferry knows but an Ollama store cannot hold.
NOT_FOR_OLLAMA = [
    f"m@{DIGEST}",
    "[::1]/a/b",
    "[::1]:5000/a/b",
    "h/a/b/c",
    "https://h/m",
    "//h/m",
    f"//h:5000/m:t@{DIGEST}",
    "h/a.b/c",
    "m" * 81,
    f"h/{'a' * 81}/b",
    f"h/a/{'b' * 81}",
    f"h/a/b:{'t' * 81}",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_name_means_what_the_table_says(text: str) -> None:
    name = Name.parse(text)

    digest = str(name.digest) if name.digest else ""
    assert (name.scheme, name.host, name.repository, name.tag, digest) == ACCEPTED[text]


@pytest.mark.parametrize("text", ACCEPTED)
def test_every_spelling_of_a_name_reads_back_to_it(text: str) -> None:
    name = Name.parse(text)

    assert Name.parse(name.text) == name
    assert Name.parse(name.shortest) == name or name.scheme  # a short name may leave out the scheme's host


@pytest.mark.parametrize("text", REFUSED)
def test_anything_else_is_refused_with_a_sentence_in_plain_characters(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Name.parse(text)

    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert len(caught.value.message) < 3000


@pytest.mark.parametrize("text", ["https://ada:s3cret@models.acme.example/acme/tiny", "HTTP://ada:s3cret@h"])
def test_a_password_in_a_name_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidError, match="no part of a name") as caught:
        Name.parse(text)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert Name.parse(f"https://tiny@sha256:{'0' * 64}").digest is not None


def test_the_table_is_as_long_as_promised() -> None:
    assert len(ACCEPTED) + len(set(REFUSED)) >= 80


@pytest.mark.parametrize("text", NOT_FOR_OLLAMA)
def test_what_an_ollama_store_cannot_hold_is_known(text: str) -> None:
    assert Name.parse(text).ollama_problem()


@pytest.mark.parametrize("text", [text for text in ACCEPTED if text not in NOT_FOR_OLLAMA])
def test_what_an_ollama_store_can_hold_is_known(text: str) -> None:
    name = Name.parse(text)
    deep = name.repository.count("/") != 1 or name.digest or "[" in name.host or "." in name.namespace
    assert bool(name.ollama_problem()) == bool(deep or len(name.tag) > 80)


def test_a_host_is_given_to_names_without_one() -> None:
    assert Name.parse("m", "models.example").host == "models.example"
    assert Name.parse("a/b:c", "http://localhost:5000").text == "http://localhost:5000/a/b:c"
    assert Name.parse("h/a/b", "http://localhost:5000").text == "h/a/b:latest"


def test_whole_names_are_folded_not_their_parts() -> None:
    assert Name.parse("H/Acme/Tiny:Q4").folded() == Name.parse("h/acme/tiny:q4").folded()
    assert Name.parse("h/acme/tiny:q4").folded() != Name.parse("h/acme/tiny:q5").folded()


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("registry.ollama.ai/library/m", "m:latest"),
        ("registry.ollama.ai/a/b:c", "a/b:c"),
        ("h/library/m", "h/library/m:latest"),
        ("registry.ollama.ai/a/b/c", "registry.ollama.ai/a/b/c:latest"),
    ],
)
def test_a_name_is_shown_as_short_as_ollama_shows_it(text: str, short: str) -> None:
    assert str(Name.parse(text)) == short


@pytest.mark.parametrize(
    ("tag", "warned"),
    [("local", True), ("Cloud", True), ("8b-cloud", True), ("clouds", False), ("8b", False)],
)
def test_tags_that_stock_ollama_reads_otherwise_are_warned_of(tag: str, warned: bool) -> None:
    assert bool(Name.parse(f"m:{tag}").tag_warning()) == warned


FIRST = st.sampled_from("abcXYZ019_")
HOSTS = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,30}(:[1-9][0-9]{0,3})?", fullmatch=True)
PARTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", fullmatch=True)
NAMES = st.builds(
    Name,
    host=HOSTS,
    repository=st.lists(PARTS, min_size=1, max_size=5).map("/".join),
    tag=PARTS,
    scheme=st.sampled_from(["", "http", "https"]),
)


@given(NAMES)
def test_a_name_that_can_be_made_can_be_written_and_read(name: Name) -> None:
    assert Name.parse(name.text) == name


@given(st.text(max_size=60))
def test_no_text_is_more_than_a_name_or_one_clear_error(text: str) -> None:
    try:
        name = Name.parse(text)
    except InvalidError as error:
        assert error.message.isprintable()
    else:
        assert Name.parse(name.text) == name


@given(st.text(alphabet="ab/:@.-_[]h5", max_size=20))
def test_nothing_that_parses_could_leave_its_directory(text: str) -> None:
    try:
        name = Name.parse(text)
    except InvalidError:
        return
    for part in (name.host, *name.repository.split("/"), name.tag):
        assert part not in (".", "..")
        assert "/" not in part
        assert "\\" not in part


# --- a host is not a model's name --------------------------------------------------------------------------

LONE_HOSTS = [
    "localhost",
    "LOCALHOST:5000",
    "127.0.0.1",
    "127.0.0.1:5080",
    "[::1]",
    "[::1]:5050",
    "models.acme:5050",
    "models.acme.example",
    "models.acme.example:443",
    "models.acme.example/",
    "https://models",
    "http://localhost:5000",
]
PLAIN = [
    "tiny",
    "tiny:5080",
    "qwen2.5",
    "qwen2.5:14",
    "llama3.2:3b",
    "phi3.5mini:latest",
    "v1.2.3",
    "acme/tiny",
    "models.acme.example/acme/tiny",
    "tiny@sha256:" + 64 * "0",
    "https://models.acme.example/tiny",
]


@pytest.mark.parametrize("text", LONE_HOSTS)
def test_a_host_alone_is_known_for_one(text: str) -> None:
    assert is_host(text)
    assert is_host(text, destination=True)


@pytest.mark.parametrize("text", PLAIN)
def test_a_model_is_not_taken_for_a_host(text: str) -> None:
    assert not is_host(text)


@pytest.mark.parametrize(("text", "expected"), [("acme.example", True), ("qwen2.5", True), ("tiny", False)])
def test_where_models_go_any_dotted_name_is_a_host(text: str, expected: bool) -> None:
    assert is_host(text, destination=True) is expected
    assert not is_host(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", False),
        ("acme/tiny:1.0", False),
        ("registry.ollama.ai/acme/tiny", True),
        ("https://models.example/tiny", True),
        ("https://models.example", False),
        ("localhost:5000/acme/tiny@sha256:" + 64 * "0", True),
    ],
)
def test_whether_a_name_says_its_host_is_known(text: str, expected: bool) -> None:
    assert names_host(text) is expected


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.io"])
@pytest.mark.parametrize("form", ["{}/tiny:1", "//{}/tiny:1", "https://{}/tiny:1", "{}/library/tiny:1"])
def test_a_name_of_one_part_at_dockers_hub_is_in_its_library(host: str, form: str) -> None:
    name = Name.parse(form.format(host))

    assert (name.host, name.repository, name.tag) == (host, "library/tiny", "1")
    assert Name.parse(name.text) == name
    assert Name.parse(f"{host}/acme/tiny").repository == "acme/tiny"


def test_a_host_before_a_single_part_is_told_the_way_to_write_it() -> None:
    with pytest.raises(InvalidError) as caught:
        Name.parse("127.0.0.1:5000/tiny")
    assert "write //127.0.0.1:5000/tiny or" in caught.value.hint
    assert Name.parse("//127.0.0.1:5000/tiny").repository == "tiny"
