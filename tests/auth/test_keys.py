"""Keys: the forms OpenSSH and Ollama give them, and one clear sentence for everything else."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from registry.auth.keys import PrivateKey, PublicKey, ensure_key, load_key
from registry.errors import DeniedError, InvalidError, Reason, RegistryError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signing.json").read_text())
SEED = bytes.fromhex(VECTORS["private_key_seed_hex"])
KEY = PrivateKey(SEED)


def written(directory: Path, text: str, mode: int = 0o600, name: str = "id_ed25519") -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return path


def pem(key: object, form: serialization.PrivateFormat = serialization.PrivateFormat.OpenSSH) -> str:
    assert isinstance(key, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


RSA = rsa.generate_private_key(65537, 2048)
ECDSA = ec.generate_private_key(ec.SECP256R1())


def test_the_public_key_has_its_known_forms() -> None:
    assert KEY.public.line == VECTORS["public_line"]
    assert KEY.public.text == VECTORS["public_line"].split()[1]
    assert KEY.public.connect == VECTORS["connect_key"]


needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")


@needs_ssh_keygen
def test_a_fingerprint_is_what_ssh_keygen_shows(tmp_path: Path) -> None:
    public = written(tmp_path, KEY.public.line + "\n", name="a.pub")
    shown = subprocess.run(["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[1] == KEY.public.fingerprint


@needs_ssh_keygen
def test_a_key_made_by_ssh_keygen_is_read(tmp_path: Path) -> None:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    assert load_key(path).public == PublicKey.parse_line(path.with_suffix(".pub").read_text())


def test_a_key_survives_being_written_and_read() -> None:
    assert PrivateKey.parse(KEY.openssh()) == KEY


@pytest.mark.parametrize("spoil", [str.strip, lambda t: f"\n  {t}\n\n", lambda t: t.replace("\n", "\r\n")])
def test_a_key_pasted_into_a_variable_is_read(spoil: object) -> None:
    assert callable(spoil)
    assert PrivateKey.parse(spoil(KEY.openssh())) == KEY


def test_no_repr_shows_a_private_key() -> None:
    assert repr(KEY) == "PrivateKey()"


ENCRYPTED = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBwz22/d2
kcUP/pgh/B/dgZAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIPG/3ZJP/5L60w8D
Ea+iRwYi0zPwTguIAQvz1go3f5A7AAAAkLnJnm30NLBQIciiShrWIsNDtlDlhtM7R7Tdoy
Pnu7gC73zF5Rx514bK6F6TZ/QV87KTrs9OnujKA9M6W8JYny21VEm36X+zqnX0JoickFb2
Yr3dYROpfED/kDyCftCc5CW4qcrrTnDtrccEtIW8auzbJWaqoyvEZ2updO+XorHvkmbhPt
SYBgu08JlLbHrWIA==
-----END OPENSSH PRIVATE KEY-----
"""
DAMAGED = KEY.openssh().replace("HwOhB7", "AAAAAA")

UNUSABLE = {
    "encrypted": (ENCRYPTED, "encrypted with a passphrase"),
    "an OpenSSH RSA key": (pem(RSA), "RSA key, not ed25519"),
    "an OpenSSH ECDSA key": (pem(ECDSA), "key, not ed25519"),
    "a PEM RSA key": (pem(RSA, serialization.PrivateFormat.TraditionalOpenSSL), "'RSA PRIVATE KEY'"),
    "a PKCS#8 key": (pem(RSA, serialization.PrivateFormat.PKCS8), "'PRIVATE KEY'"),
    "garbage": ("not a key\n", "not an OpenSSH private key"),
    "nothing": ("", "not an OpenSSH private key"),
    "damaged": (DAMAGED, "damaged"),
    "only a frame": ("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n", "damaged"),
    "a public line": (KEY.public.line, "is a public key"),
    "a public RSA line": ("ssh-rsa AAAA", "is a public key"),
    "letters beyond ASCII": ("-----BEGIN OPENSSH PRIVATE KEY-----\né", "damaged"),
}


@pytest.mark.parametrize("text, sentence", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_key_is_refused_with_a_clear_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidError, match=sentence) as refused:
        load_key(path)
    assert str(path) in refused.value.message
    assert refused.value.hint
    assert text[:40] not in refused.value.message or len(text) < 30


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601, 0o666])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, KEY.openssh(), mode)
    with pytest.raises(DeniedError, match="others may touch it") as refused:
        load_key(path)
    assert (refused.value.reason, refused.value.detail) == (Reason.SECRET_EXPOSED, str(path))


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="there is no key at") as refused:
        load_key(tmp_path / "absent")
    assert "ssh-keygen" in refused.value.hint


def test_the_pub_file_given_instead_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, KEY.public.line, 0o644, "id_ed25519.pub")
    with pytest.raises(InvalidError, match="is a public key"):
        load_key(path)


@pytest.mark.parametrize("kind", ["directory", "huge"])
def test_what_is_no_key_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    if kind == "directory":
        path.mkdir(0o700)
    else:
        written(tmp_path, "x" * 20_000, name="key")
    with pytest.raises(RegistryError, match=str(path)):
        load_key(path)


def test_a_missing_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".ollama" / "id_ed25519"
    made = ensure_key(path, SEED, "me@here")
    assert made == KEY == load_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.with_name("id_ed25519.pub").read_text() == f"{KEY.public.line} me@here\n"
    assert sorted(p.name for p in path.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, KEY.openssh())
    before = path.read_bytes()
    assert ensure_key(path, bytes(32)) == KEY
    assert path.read_bytes() == before


def test_an_existing_unusable_key_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    with pytest.raises(InvalidError):
        ensure_key(path, SEED)
    assert path.read_bytes() == b""


def test_many_who_make_the_key_at_once_end_with_the_same_one(tmp_path: Path) -> None:
    path, made, gate = tmp_path / "id", [], threading.Barrier(8)

    def make(number: int) -> None:
        gate.wait()
        made.append(ensure_key(path, bytes([number]) * 32))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert set(made) == {load_key(path)}


WRONG_LINES = {
    "empty": "",
    "no key": "ssh-ed25519",
    "another type": f"ssh-rsa {KEY.public.text}",
    "two lines": f"{KEY.public.line}\n{KEY.public.line}",
    "a private key": KEY.openssh(),
    "cut short": KEY.public.line[:-4],
    "unpadded and longer": KEY.public.line + "AAAA",
    "not base64": "ssh-ed25519 !!!!",
    "an RSA key under the wrong name": "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAA",
    "endless": "ssh-ed25519 " + "A" * 100_000,
}


@pytest.mark.parametrize("line", WRONG_LINES.values(), ids=WRONG_LINES)
def test_only_an_ed25519_public_line_is_taken(line: str) -> None:
    with pytest.raises(InvalidError):
        PublicKey.parse_line(line)


def test_a_public_line_may_have_a_comment_of_several_words() -> None:
    assert PublicKey.parse_line(KEY.public.line + " me and my laptop\n") == KEY.public


@pytest.mark.parametrize(
    "other",
    [
        KEY.public.text.replace("+", "-").replace("/", "_"),
        KEY.public.text + "=",
        KEY.public.text + "\n",
        " " + KEY.public.text,
        KEY.public.text[:-1],
    ],
)
def test_a_key_has_exactly_one_spelling(other: str) -> None:
    with pytest.raises(InvalidError):
        PublicKey.parse(other)


def test_another_kind_of_key_is_named_as_such() -> None:
    with pytest.raises(InvalidError, match="not an ed25519 public key"):
        PublicKey.parse("AAAAB3NzaC1yc2EAAAADAQABAAAA")


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.encodebytes(text.encode()).decode(),
        lambda text: text.replace("\n", "\\n"),
        lambda text: text.replace("\n", "\\r\\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " "),
        lambda text: "".join(text.splitlines()),
        lambda text: "".join(text.splitlines()[1:-1]),
        lambda text: f"  \n{text}".rstrip(),
    ],
)
def test_a_key_in_one_line_is_the_same_key(spell: Callable[[str], str]) -> None:
    assert PrivateKey.parse(spell(KEY.openssh())) == KEY
