"""The words of a token exchange (RFC 8693), by which a CI job's ID token becomes a token of the registry."""

from __future__ import annotations

PATH = "/oauth/token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
