"""The steps of `ferry demo`: what each is called, what is typed, and what must be true afterwards."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.demo_browser import DemoBrowser
from cli.demo_sandbox import Sandbox, StepError
from cli.render import size
from registry.contracts import Source
from registry.disk.data import DataFile
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.store import Store
from registry.wire.messages import Origin

MODEL = "ada/tiny:1.0"
_MISSING = "ada/never-was:1.0"
_MAKE_KEY = ("signin", "--give-up-after", "0")
_NO_SUCH = 3
_DENIED = 4
_CORRUPT = 5

_MODELFILE = '''FROM ./tiny.gguf
TEMPLATE """{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}"""
SYSTEM You are a very small model.
PARAMETER temperature 0.7
PARAMETER stop "</s>"
LICENSE """This model was made up by ferry demo. Do with it as you like."""
'''


def _serve(sandbox: Sandbox) -> str:
    sandbox.serve()
    return f"ready on http://{sandbox.host}, for this machine only"


def _set_up(sandbox: Sandbox) -> str:
    """What a person does in a browser is done with its pages: the forms are filled in and sent."""
    password = secrets.token_urlsafe(16)
    browser = DemoBrowser(Origin.of(f"http://{sandbox.host}"))

    def approve(url: str, code: str) -> None:
        sandbox.typed.append(f"ada's browser: {url[:22]}… ← {code}, her password")
        browser.send(url.removeprefix(f"http://{sandbox.host}"), code=code, password=password, do="approve")

    try:
        link = sandbox.set_up.removeprefix(f"http://{sandbox.host}")
        secret = link.partition("#")[2]
        sandbox.typed.append("ada's browser: the set-up link ← ada, a new password")
        browser.send(link, code=secret, name="ada", password=password, again=password)
        told = sandbox.signin("ada", approve)
    finally:
        browser.close()
    _expect(told["state"] == "approved" and told["name"] == "ada", f"sign-in ended with {told}")
    return "the first account is Ada's; ferry signin ended the moment she approved her machine"


def _people(sandbox: Sandbox) -> str:
    """An account without a browser: the key comes first, and the administrator makes it known."""
    sandbox.ferry("ben", *_MAKE_KEY, sandbox.host, ends=_DENIED)
    words = ("user", "add", "ben", "--key", "ben/.ollama/id_ed25519.pub")
    sandbox.ferry("host", "admin", *words, "--data", "registry")
    names = [sandbox.ferry(person, "whoami", sandbox.host)["name"] for person in ("ada", "ben")]
    _expect(names == ["ada", "ben"], f"the registry takes them for {names}")
    return "two machines, two accounts"


def _create(sandbox: Sandbox) -> str:
    from registry.disk import files
    from registry.publish.writer import tiny

    folder = sandbox.home("ada")
    files.write_atomic(folder / "tiny.gguf", tiny(), scratch=folder)
    files.write_atomic(folder / "Modelfile", _MODELFILE.encode(), scratch=folder)
    sandbox.ferry("ada", "create", sandbox.name(MODEL), "-f", "ada/Modelfile")
    shown = sandbox.ferry("ada", "show", sandbox.name(MODEL))
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in shown["layers"]]
    _expect(
        kinds == ["model", "template", "system", "license", "params"],
        f"the model has the layers {kinds}",
    )
    weights = shown["layers"][0]["size"]
    return f"{size(weights)} of weights, a template, a system prompt, a licence and parameters"


def _publish(sandbox: Sandbox) -> str:
    told = sandbox.ferry("ada", "push", sandbox.name(MODEL))
    _expect(all(blob["how"] == "uploaded" for blob in told["blobs"]), "not every blob was uploaded")
    _expect(told["transferred"] == told["size"], "it moved another number of bytes than the model has")
    again = sandbox.ferry("ada", "push", sandbox.name(MODEL))
    _expect(again["transferred"] == 0, "a second push moved something")
    return f"{size(told['transferred'])} moved, read back and the same; a second push moved nothing"


def _refuse(sandbox: Sandbox) -> str:
    """An unknown key, and a known one without the right, hear the same of this model as of none."""
    sandbox.ferry("eve", *_MAKE_KEY, sandbox.host, ends=_DENIED)  # makes her key, which nobody adds
    heard = []
    for person, ends in (("eve", _DENIED), ("ben", _NO_SUCH)):
        private, none = (
            sandbox.ferry(person, "pull", sandbox.name(model), ends=ends)["error"]
            for model in (MODEL, _MISSING)
        )
        same = _without_name(private, MODEL) == _without_name(none, _MISSING)
        _expect(same, f"{person} can tell the private model from none: {private} {none}")
        _expect(sandbox.ferry(person, "list") == [], f"{person} has a model now")
        heard.append(f"{person} hears: {private['message']}")
    return "\n".join(["Eve's key is refused; neither she nor Ben can tell that the model exists", *heard])


def _without_name(error: Any, model: str) -> str:
    """An error with the model's name blotted out: what is left must be the same for both."""
    text = str(error)
    path, _, tag = model.partition(":")
    for word in (model, path, f"{path.rpartition('/')[2]}:{tag}", path.rpartition("/")[2]):
        text = text.replace(word, "…")
    return text


def _pull(sandbox: Sandbox) -> str:
    sandbox.ferry("host", "admin", "grant", "ben", "ada/tiny", "read", "--data", "registry")
    told = sandbox.ferry("ben", "pull", sandbox.name(MODEL))
    _expect(all(blob["how"] == "fetched" for blob in told["blobs"]), "not every blob was fetched")
    return f"{size(told['transferred'])} in {told['seconds']:.2f} s, into a store that was empty"


def _program(sandbox: Sandbox) -> str:
    """A program with a key of its own, that reads one namespace, until the key is revoked."""
    at = ("--host", sandbox.host)
    made = sandbox.ferry("ada", "keys", "create", "--scope", "ada/*:pull", "--note", "ci", *at)
    environ = {"FERRY_API_KEY": made["secret"], "FERRY_REGISTRY": sandbox.host}
    told = sandbox.ferry("ci", "pull", sandbox.name(MODEL), **environ)
    _expect(all(blob["how"] == "fetched" for blob in told["blobs"]), "not every blob was fetched")
    sandbox.ferry("ada", "keys", "revoke", made["id"], *at)
    error = sandbox.ferry("ci", "whoami", sandbox.host, ends=_DENIED, **environ)["error"]
    _expect(made["secret"] not in str(error), "the API key is shown")
    return f"an API key that may pull is enough, until it is revoked\nci hears: {error['message']}"


def _prove(sandbox: Sandbox) -> str:
    """Hash everything Ben has, here, and compare it with what Ada made."""
    name = Name.parse(sandbox.name(MODEL))
    ada, ben = (Store(sandbox.models(person)) for person in ("ada", "ben"))
    manifest = ben.resolve(name)
    _expect(manifest.raw == ada.resolve(name).raw, "Ben's manifest is not Ada's")
    for blob in manifest.blobs():
        found = _hash(ben, name, blob)
        _expect(found == blob.digest.hex, f"blob {blob.digest.short} hashes to {found[:12]}")
    sandbox.typed.append("ben$ # every blob is hashed, and compared with what Ada made")
    count = len(list(manifest.blobs()))
    return f"{count} blobs hash to their names; the manifest is Ada's to the byte ({manifest.digest.short})"


def _hash(source: Source, name: Name, blob: Descriptor) -> str:
    hasher = hashlib.sha256()
    for chunk in source.open(name, blob, Span(0, blob.size)).stream:
        hasher.update(chunk)
    return hasher.hexdigest()


def _corrupt(sandbox: Sandbox) -> str:
    """Flip one byte of the weights, on the registry's disk: the next pull must notice."""
    name = Name.parse(sandbox.name(MODEL))
    weights = max(Store(sandbox.models("ada")).resolve(name).layers, key=lambda layer: layer.size)
    path = _blob_file(sandbox.folder / "registry", weights.digest.hex)
    pull = ("pull", sandbox.name(MODEL), "--models", "ben/second-store")
    _flip(path, weights.size // 2)
    sandbox.typed.append(f"host$ # byte {weights.size // 2} of the weights is flipped in registry/blobs")
    told = sandbox.ferry("ben", *pull, ends=_CORRUPT)
    _expect(sandbox.ferry("ben", "list", *pull[2:]) == [], "a model with a wrong byte is visible")
    _flip(path, weights.size // 2)
    sandbox.typed.append("host$ # and flipped back")
    sandbox.ferry("ben", *pull)
    why = told["error"]["message"].rpartition(": ")[2]
    return f"noticed: {why}\nno model was made of it; from the mended disk it is pulled"


def _blob_file(registry: Path, digest_hex: str) -> Path:
    found = [path for path in registry.rglob(f"*{digest_hex}*") if path.is_file()]
    _expect(len(found) == 1, f"the registry holds the weights in {len(found)} files")
    return found[0]


def _flip(path: Path, offset: int) -> None:
    file = DataFile.open(path, create=False)
    try:
        byte = file.read(1, offset)
        file.write(bytes([byte[0] ^ 0xFF]), offset)
    finally:
        file.close()


def _stop(sandbox: Sandbox) -> str:
    code = sandbox.stop()
    _expect(code == 0, f"the registry ended with {code}")
    sandbox.typed.append("host$ kill %1")
    return "the registry finished what it was doing, and ended with 0"


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise StepError(otherwise)


STEPS: tuple[tuple[str, Callable[[Sandbox], str]], ...] = (
    ("A private registry is started", _serve),
    ("Ada sets it up in her browser, and signs in", _set_up),
    ("Ben makes a key, and gets an account", _people),
    ("Ada makes a model from a GGUF file and a Modelfile", _create),
    ("Ada publishes it", _publish),
    ("Strangers are refused", _refuse),
    ("Ada's model is shared with Ben, who pulls it", _pull),
    ("A program gets an API key, and loses it", _program),
    ("Every byte is proven", _prove),
    ("One byte on the registry's disk is flipped", _corrupt),
    ("The registry is stopped", _stop),
)
