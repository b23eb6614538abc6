"""Worlds in which something on the way to a model is broken, each with real sockets and files.

A world is a function that is given a `Kit` to build in, and says what `ferry doctor` is run with.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from email.utils import formatdate

from doctor_kit import Kit, Words, asks_for_a_token, holds_a_model, silence, takes_uploads
from login_kit import docker
from peers import free_port
from person import Ferry
from spy import Seen, Spy, Talk, reply

from registry.auth import api_keys

# --- what this run was told, and who it is ----------------------------------------------------------------


def unknown_setting(kit: Kit) -> Words:
    Ferry(kit.home).settings("registri = 'x'\n")
    return (kit.tiny,)


def api_key_for_nobody(kit: Kit) -> Words:
    kit.environ["FERRY_API_KEY"] = "x"
    return (kit.tiny,)


def authority_not_there(kit: Kit) -> Words:
    return (kit.tiny, "--tls-ca", "nowhere.pem")


def proxy_that_is_no_url(kit: Kit) -> Words:
    kit.environ["HTTPS_PROXY"] = "http://proxy:port"
    return ("models.acme.example",)


def empty_key(kit: Kit) -> Words:
    kit.environ["FERRY_KEY"] = ""
    return (kit.tiny,)


def exposed_key(kit: Kit) -> Words:
    kit.make_key().chmod(0o644)
    return (kit.tiny,)


def key_that_is_none(kit: Kit) -> Words:
    kit.make_key().write_text("no key\n")
    return (kit.tiny,)


def exposed_logins(kit: Kit) -> Words:
    path = Ferry(kit.home).settings("").with_name("credentials.toml")
    path.write_text("")
    path.chmod(0o644)
    return (kit.tiny,)


def broken_docker_config(kit: Kit) -> Words:
    docker(Ferry(kit.home), {})
    (kit.home / ".docker" / "config.json").write_text("{")
    return (f"{kit.spy(holds_a_model()).netloc}/acme/tiny",)


def job_without_an_identity(kit: Kit) -> Words:
    host = kit.spy(holds_a_model()).netloc
    kit.environ |= {"GITHUB_ACTIONS": "true", "FERRY_REGISTRY": host}
    return (f"{host}/acme/tiny",)


# --- the way there ----------------------------------------------------------------------------------------


def no_such_host(_kit: Kit) -> Words:
    return ("no.such.invalid/acme/tiny",)


def refused_proxy(kit: Kit) -> Words:
    kit.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{free_port()}"
    return ("models.acme.example/acme/tiny",)


def proxy_that_wants_a_password(kit: Kit) -> Words:
    kit.environ["HTTPS_PROXY"] = f"http://ada:s3cret-of-proxy@{kit.spy(reply(407)).netloc}"
    return ("models.acme.example/acme/tiny",)


def proxy_without_a_name(kit: Kit) -> Words:
    kit.environ["HTTPS_PROXY"] = "http://no.such.invalid:3128"
    return ("models.acme.example",)


def nobody_listens(_kit: Kit) -> Words:
    return (f"127.0.0.1:{free_port()}",)


def silent_tls(kit: Kit) -> Words:
    kit.environ["FERRY_STALL"] = "0.2"
    return (f"https://{kit.spy(silence).netloc}/acme/tiny",)


def unknown_authority(kit: Kit) -> Words:
    return (f"https://{kit.spy(reply(200), tls='good').netloc}",)


def expired_certificate(kit: Kit) -> Words:
    return (f"https://{kit.spy(reply(200), tls='expired').netloc}", *kit.trust("expired"))


def certificate_of_another_host(kit: Kit) -> Words:
    kit.through("good", reply(200))
    return ("models.acme.example/acme/tiny", *kit.trust("good"))


def plain_http_where_tls_is_asked(kit: Kit) -> Words:
    hasty = kit.stack.enter_context(Spy((silence,), greeting=reply(400)))
    return (f"https://{hasty.netloc}",)


def tls_where_plain_http_is_asked(kit: Kit) -> Words:
    return (f"http://{kit.front}/acme/tiny",)


# --- what answers -----------------------------------------------------------------------------------------


def silent_peer(kit: Kit) -> Words:
    kit.environ["FERRY_STALL"] = "0.2"
    return (f"{kit.spy(silence).netloc}/acme/tiny",)


def web_page(kit: Kit) -> Words:
    return (kit.spy(reply(200, b"<!doctype html><title>Log in</title>")).netloc,)


def yes_to_everything(kit: Kit) -> Words:
    return (kit.spy(reply(200, b"{}", Docker_Distribution_API_Version="registry/2.0")).netloc,)


def not_http(kit: Kit) -> Words:
    return (kit.spy(b"SSH-2.0-OpenSSH_9.6\r\n").netloc,)


def busy_for_hours(kit: Kit) -> Words:
    return (f"{kit.spy(reply(429, b'{}', Retry_After='7200')).netloc}/acme/tiny",)


def down(kit: Kit) -> Words:
    return (kit.spy(reply(503)).netloc,)


def page_of_a_firewall(kit: Kit) -> Words:
    return (kit.spy(reply(403, b"<html>blocked")).netloc,)


def refused_to_everybody(kit: Kit) -> Words:
    return (kit.spy(reply(403, b'{"errors":[{"code":"DENIED"}]}')).netloc,)


def redirected_in_circles(kit: Kit) -> Words:
    return (kit.spy(reply(301, Location="/v2/")).netloc,)


def redirected_to_nobody(kit: Kit) -> Words:
    return (kit.spy(reply(301, Location=f"http://127.0.0.1:{free_port()}/v2/")).netloc,)


def redirected_to_another_host(kit: Kit) -> Words:
    return (kit.spy(reply(308, Location=f"{kit.spy(reply(200, b'{}')).url}/v2/")).netloc,)


def lost_host(kit: Kit) -> Words:
    """nginx passes the Host on, and the registry does not know that name of its own."""
    return (f"https://{kit.front}/lost/tiny", *kit.trust("front"))


def wrong_clock(kit: Kit) -> Words:
    kit.make_key()
    past = formatdate(1_000_000_000, usegmt=True)
    return (f"{kit.spy(asks_for_a_token(date=past)).netloc}/acme/tiny",)


# --- who we are there, and what we may --------------------------------------------------------------------


def nothing_is_asked_for(kit: Kit) -> Words:
    return (f"{kit.spy(reply(401)).netloc}/acme/tiny",)


def realm_elsewhere(kit: Kit) -> Words:
    kit.make_key()
    return (f"{kit.spy(asks_for_a_token('http://127.0.0.9:99/token')).netloc}/acme/tiny",)


def realm_elsewhere_with_a_password(kit: Kit) -> Words:
    host = kit.spy(asks_for_a_token("http://id.other.invalid/token")).netloc
    docker(Ferry(kit.home), {"auths": {host: {"auth": b64encode(b"ada:s3cret-password").decode()}}})
    return (f"{host}/acme/tiny",)


def garbage_for_a_token(kit: Kit) -> Words:
    return (f"{kit.spy(asks_for_a_token(token='{}')).netloc}/acme/tiny",)


def no_key(kit: Kit) -> Words:
    return (f"{kit.tiny}",)


def unknown_key(kit: Kit) -> Words:
    kit.make_key()
    return (kit.house.host,)


def revoked_key(kit: Kit) -> Words:
    kit.be("withdrawn")
    return (kit.tiny,)


def bad_api_key(kit: Kit) -> Words:
    kit.environ |= {"FERRY_API_KEY": api_keys.make(bytes(32)), "FERRY_REGISTRY": kit.house.host}
    return (kit.tiny,)


def private_model(kit: Kit) -> Words:
    kit.be("ben")
    return (kit.tiny,)


def no_such_tag(kit: Kit) -> Words:
    kit.be("ada")
    return (f"{kit.tiny}:gone",)


def push_denied(kit: Kit) -> Words:
    kit.be("guest")
    return (kit.tiny, "--push")


def push_denied_by_a_registry_without_scopes(kit: Kit) -> Words:
    return (f"{kit.spy(takes_uploads(begun=403)).netloc}/acme/tiny", "--push")


def key_unknown_to_the_account_of_ollamas_registry(kit: Kit) -> Words:
    """Nothing said where: everything is as usual, and not signed in."""
    kit.make_key()

    def script(talk: Talk, seen: Seen) -> None:
        unknown = reply(401, json.dumps({"error": "unauthorized"}).encode())
        talk.send(unknown if seen.target.startswith("/api/me") else reply(404, b"404 page not found"))

    kit.through("good", script)
    return kit.trust("good")


def key_unknown_at_ollama_com(kit: Kit) -> Words:
    kit.make_key()
    kit.through("good", reply(401, json.dumps({"error": "unauthorized"}).encode()))
    return ("ollama.com", *kit.trust("good"))


# --- the bytes, and where they go -------------------------------------------------------------------------


def several_models_under_one_tag(kit: Kit) -> Words:
    child = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{'0' * 64}",
        "size": 2,
    }
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [child]}).encode()
    return (f"{kit.spy(reply(200, index, Content_Type=kind)).netloc}/acme/tiny",)


def no_ranges(kit: Kit) -> Words:
    return (f"{kit.spy(holds_a_model('no ranges')).netloc}/acme/tiny",)


def missing_blob(kit: Kit) -> Words:
    return (f"{kit.spy(holds_a_model('missing')).netloc}/acme/tiny",)


def damaged_blob(kit: Kit) -> Words:
    return (f"{kit.spy(holds_a_model('damaged')).netloc}/acme/tiny",)


def small_bodies_only(kit: Kit) -> Words:
    return (f"https://{kit.front}/limited/tiny", "--push", *kit.trust("front"))


def hardly_any_bodies(kit: Kit) -> Words:
    return (f"https://{kit.front}/tight/tiny", "--push", *kit.trust("front"))


def store_that_is_a_file(kit: Kit) -> Words:
    (kit.home / "file").write_text("")
    return (f"{kit.spy(holds_a_model()).netloc}/acme/tiny", "--models", str(kit.home / "file"))


World = Callable[[Kit], Words]
# What is broken: at which hop, how that ends, words of what was seen, words of the next step.
WORLDS: list[tuple[World, str, int, str, str]] = [
    (unknown_setting, "settings", 2, "registri: no such setting", "there are: registry"),
    (api_key_for_nobody, "settings", 2, "FERRY_REGISTRY is not", "set FERRY_REGISTRY"),
    (authority_not_there, "settings", 2, "nowhere.pem", "--tls-ca"),
    (proxy_that_is_no_url, "settings", 2, "HTTPS_PROXY", "mend"),
    (empty_key, "key", 2, "FERRY_KEY is set, but empty", "unset it"),
    (exposed_key, "key", 4, "others may touch it", "chmod 600"),
    (key_that_is_none, "key", 2, "is not an OpenSSH private key", "ssh-keygen"),
    (exposed_logins, "credential", 4, "credentials.toml", "chmod 600"),
    (broken_docker_config, "credential", 0, "config.json is not JSON", "mend what it names"),
    (job_without_an_identity, "credential", 0, "id-token: write", "mend what it names"),
    (no_such_host, "dns", 6, "does not resolve", "DNS"),
    (proxy_without_a_name, "dns", 6, "the proxy no.such.invalid", "HTTPS_PROXY"),
    (refused_proxy, "proxy", 6, "refused the connection", "HTTPS_PROXY"),
    (proxy_that_wants_a_password, "proxy", 4, "407", "NO_PROXY=models.acme.example"),
    (nobody_listens, "tcp", 6, "refused the connection", "that the port is right"),
    (silent_tls, "tls", 6, "fell silent", "a firewall or proxy"),
    (unknown_authority, "tls", 4, 'issued by "ferry test"', "--tls-ca"),
    (expired_certificate, "tls", 4, "expired", "its dates"),
    (certificate_of_another_host, "tls", 4, "it is for localhost", "a name that its certificate is for"),
    (plain_http_where_tls_is_asked, "tls", 7, "does not speak HTTPS", "--plain-http"),
    (tls_where_plain_http_is_asked, "http", 7, "speaks HTTPS", "https://"),
    (silent_peer, "http", 6, "fell silent", "a firewall or proxy"),
    (web_page, "http", 7, "a web page", "that it is a registry"),
    (yes_to_everything, "http", 7, "answers 200 to everything", "that it is a registry"),
    (not_http, "http", 7, "did not answer in HTTP", "that it is a registry"),
    (busy_for_hours, "http", 6, "left alone for 2 h", "wait"),
    (down, "http", 6, "503", "wait"),
    (page_of_a_firewall, "http", 4, "403 with a web page", "ferry api GET /v2/ --host"),
    (refused_to_everybody, "http", 4, "403: DENIED", "ask the owner"),
    (redirected_in_circles, "http", 7, "more than 5 times", "administrator"),
    (redirected_to_nobody, "http", 6, "redirects there", "that it is running"),
    (redirected_to_another_host, "http", 0, "to which 127.0.0.1", ""),
    (lost_host, "http", 7, "421", "proxy_set_header Host"),
    (wrong_clock, "clock", 4, "s ahead of", "set this machine's clock"),
    (nothing_is_asked_for, "challenge", 7, "does not say what it wants", "administrator"),
    (realm_elsewhere, "token", 4, "a signature at http://127.0.0.9:99", "--realm http://127.0.0.9:99"),
    (realm_elsewhere_with_a_password, "token", 4, "the password at http://id.other", "--realm http://id."),
    (garbage_for_a_token, "token", 7, "no token in it", "administrator"),
    (no_key, "token", 4, "there is no key or login for it", "ferry signin"),
    (unknown_key, "token", 4, "does not accept the key", "ferry signin"),
    (revoked_key, "token", 4, "does not accept the key", "another key"),
    (bad_api_key, "token", 4, "invalid or revoked", "make a new API key"),
    (private_model, "scope", 3, "granted nothing", "a private model looks like none"),
    (no_such_tag, "manifest", 3, "404", "check the name"),
    (key_unknown_at_ollama_com, "account", 4, "does not know the key", "ferry signin ollama.com"),
    (several_models_under_one_tag, "manifest", 0, "an index of 1", ""),
    (no_ranges, "blob", 0, "no ranges", ""),
    (missing_blob, "blob", 3, "BLOB_UNKNOWN", "push it again from where it is whole"),
    (damaged_blob, "blob", 5, "is damaged", "push the model again"),
    (push_denied, "scope", 4, "no right to push to doctor-ada/tiny", "ask the owner"),
    (push_denied_by_a_registry_without_scopes, "upload", 4, "requested access", "ask the owner"),
    (key_unknown_to_the_account_of_ollamas_registry, "account", 4, "does not know the key", "ferry signin"),
    (small_bodies_only, "upload", 0, "took 1 MiB", "client_max_body_size"),
    (hardly_any_bodies, "upload", 7, "no body of 1 MiB", "client_max_body_size"),
    (store_that_is_a_file, "store", 8, "is not a directory", "another place"),
]
