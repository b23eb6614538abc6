"""What to do next, for each reason the library gives (rule 14): whole commands, host and name filled in."""

from __future__ import annotations

from collections.abc import Mapping

from registry.errors import Reason, RegistryError

_PRIVATE_CA = "a private CA give its certificate with --tls-ca; --insecure-tls asks no questions at all"
# `{host}`, `{name}` and `{detail}` are the error's own; advice with a gap that cannot be filled is not given.
ADVICE: Mapping[Reason, str] = {
    Reason.NOT_SIGNED_IN: "sign in: ferry signin {host}; where it wants a password: ferry login {host}",
    Reason.KEY_UNKNOWN: "connect the key: ferry signin {host}",
    Reason.WITHDRAWN: "another key that is known there can be given with --key",
    Reason.LOGIN_REFUSED: "log in again: ferry login {host} (or docker login {host})",
    Reason.API_KEY_REFUSED: "make a new API key where {host} shows them, and put it where the old one was",
    Reason.API_KEY_WANTED: "make one at https://{host}/settings/keys and put it into OLLAMA_API_KEY",
    Reason.JOB_REFUSED: (
        "who owns the model says whose jobs publish it, on its page or by ferry admin publisher add; "
        "ferry admin audit shows what differed"
    ),
    Reason.JOB_OVER: (
        "a job's token is renewed while it is used at least every 15 minutes, for 6 hours: run the job "
        "again, with its commands closer together, or give it an API key"
    ),
    Reason.NO_ID_TOKEN: (
        "{host} is this job's CI system: what its workflow has to say is in the README under "
        "'CI without a secret'; an API key will do too"
    ),
    Reason.FOREIGN_REALM: "if that is right: --realm {detail}, or in the settings "
    '[host."{host}"] realms = ["{detail}"]',
    Reason.SECRET_EXPOSED: "chmod 600 {detail}; where it cannot be changed (a mounted secret), "
    "put its text into FERRY_KEY (a key) or FERRY_API_KEY instead",
    Reason.TAG_IMMUTABLE: "publish under another tag, or ask the owner to let this one move",
    Reason.TAG_TAKEN: "publish under another tag; without --if-absent a push moves this one",
    Reason.NOT_ALLOWED: "ask the owner for the right; ferry whoami {host} shows who you are there",
    Reason.KEY_SCOPES: (
        "use an API key whose scopes do: ferry keys create --scope 'NAMESPACE/MODEL:pull,push' --host {host} "
        "makes one"
    ),
    Reason.VISIBILITY_UNSUPPORTED: "make it so on {host}'s own pages; push without --private and --public",
    Reason.CREDENTIALS_NOT_ALLOWED: (
        "credentials are changed with a machine's key: --key ~/.ollama/id_ed25519, "
        "once ferry signin {host} has connected it"
    ),
    Reason.NO_ACCOUNTS: (
        "anybody may do there what it allows; its administrator makes the first account: ferry admin user add"
    ),
    Reason.CLOCK: "set this machine's clock, or ask for the server's to be set",
    Reason.NAME_NOT_THERE: (
        "check the name; without the right to it, a private model looks like none: "
        "ferry whoami {host} shows who you are there"
    ),
    Reason.BLOB_NOT_THERE: (
        "the registry lost a part of the model: push it again from where it is whole, "
        "or ask its administrator (ferry admin check)"
    ),
    Reason.BODY_LIMIT: "its administrator can allow larger bodies (nginx: client_max_body_size)",
    Reason.DISK_FULL: "make room there, then run the same command again",
    Reason.NO_ROOM: "make room on the disk of the registry's data directory",
    Reason.REGISTRY_FULL: (
        "the registry's disk or quota is full, not this machine's; its administrator can make room"
    ),
    Reason.DOCKER_MANIFEST: (
        "an OCI-only registry has to be told to take Docker manifests "
        '(zot: "http": {{"compat": ["docker2s2"]}} in its configuration)'
    ),
    Reason.BUSY: "the registry is busy or broken; the same command goes on where this one stopped",
    Reason.LINE_BROKE: "the same command goes on where this one stopped",
    Reason.UNEXPECTED_ANSWER: "--debug shows the requests",
    Reason.REFERRERS_UNREADABLE: "ferry mirror --referrers never leaves them out (sync.toml: referrers)",
    Reason.HOST_LOST: "a proxy in front has to pass the Host on that it was asked for "
    "(nginx: proxy_set_header Host $http_host), or the registry be told its name (ferry serve --public-url)",
    Reason.NOBODY_LISTENS: "see that it is running, and that the port is right",
    Reason.NO_SUCH_HOST: "check the spelling, and this machine's DNS",
    Reason.NO_REGISTRY_THERE: "see that it is a registry, and that the port is right",
    Reason.HTTPS_THERE: "write https:// in front of the name, and leave out --plain-http where it was said",
    Reason.NO_HTTPS_THERE: "if it is meant to speak plain HTTP: --plain-http, or http:// before the name",
    Reason.CERTIFICATE: f"for {_PRIVATE_CA}",
    Reason.CERTIFICATE_HOST: "ask under a name that its certificate is for; "
    "or its administrator gets one for the name that was asked for",
    Reason.CERTIFICATE_DATES: f"if its dates are right, this machine's clock is not; for {_PRIVATE_CA}",
    Reason.CLIENT_CERTIFICATE: 'in the settings [host."{host}"] client_cert = "FILE", client_key = "FILE"',
    Reason.CA_UNREADABLE: "--tls-ca takes certificates in PEM form",
    Reason.ADDRESS_TAKEN: "another program listens there: choose a port with --listen HOST:PORT "
    "(a mirror's metrics: --metrics-listen)",
    Reason.PROXY: "check HTTP_PROXY, HTTPS_PROXY and the settings' proxy; NO_PROXY={host} goes around it",
    Reason.NOT_IN_STORE: "ferry list shows what is there",
    Reason.BLOB_NOT_IN_STORE: "ferry verify --repair {name} fetches what is missing",
    Reason.NAME_NOT_STORABLE: "choose a name for it here: --as NAME",
    Reason.INDEX_NOT_STORABLE: "pull one of them by its digest: NAME@sha256:… --as NAME",
    Reason.DIGEST_NOT_STORABLE: "ferry mirror copies it between registries",
    Reason.STORE_IN_TWO: "use the directory that {detail} points into: --models DIR",
    Reason.STORE_FULL: "free {detail} there, or choose another place with --models DIR",
    Reason.BLOB_REFUSED: (
        "push again; if it stays so, {host} does not keep what it is sent, or the source's blob is damaged"
    ),
}


# Where there is more to find out than an error can say.
LOOK_CLOSER = frozenset(
    {
        *(Reason.UNEXPECTED_ANSWER, Reason.BUSY, Reason.LINE_BROKE, Reason.NOBODY_LISTENS),
        *(Reason.NO_SUCH_HOST, Reason.NO_REGISTRY_THERE, Reason.HTTPS_THERE, Reason.NO_HTTPS_THERE),
        *(
            Reason.CERTIFICATE,
            Reason.CERTIFICATE_HOST,
            Reason.CERTIFICATE_DATES,
            Reason.PROXY,
            Reason.CLOCK,
            Reason.HOST_LOST,
        ),
    }
)
# What to do where nothing was begun that would go on: a hop was looked at.
_NOTHING_BEGUN: Mapping[Reason, str] = {
    Reason.LINE_BROKE: "a firewall or proxy may stand between, or {host} hang: ask its administrator",
    Reason.BUSY: "wait, as long as it asks for, or ask the administrator of {host}",
}
# What to do about a hop that fails for a reason without advice.
STEPS: Mapping[str, str] = {
    "settings": "mend what it names; an option goes before what is set",
    "key": "name another with --key FILE; ferry signin makes one where there is none",
    "credential": "mend it, or move it away; ferry login keeps a new one",
    "proxy": "check HTTPS_PROXY and NO_PROXY, and whether the proxy is well",
    "http": "ask its administrator; ferry api GET /v2/ --host {host} shows what it answers",
    "challenge": "ask its administrator: what it wants to see is set up wrongly",
    "token": "ask its administrator: its tokens are set up wrongly",
    "manifest": "push the model again, if it is yours",
    "blob": "push the model again from where it is whole",
    "upload": "ask its administrator what it takes",
    "store": "choose another place: --models DIR",
}


def next_step(error: RegistryError, hop: str = "") -> str:
    """The step a person can take after `error`; "" where none is known.

    `hop`: where `ferry doctor` met it, which has looked closer already.
    """
    said = {"host": error.host, "name": error.name, "detail": error.detail}
    if hop and error.reason in _NOTHING_BEGUN:
        return _filled(_NOTHING_BEGUN[error.reason], said)
    advice = _filled(ADVICE.get(error.reason, ""), said) or error.hint
    if hop:
        return advice or _filled(STEPS.get(hop, ""), said)
    closer = error.host if error.reason in LOOK_CLOSER else ""
    return "; ".join(filter(None, (advice, closer and f"ferry doctor {closer} looks closer")))


def _filled(advice: str, said: Mapping[str, str]) -> str:
    """`advice` with its gaps filled; "" where one cannot be."""
    if any(f"{{{gap}}}" in advice and not text for gap, text in said.items()):
        return ""
    return advice.format_map(said)
