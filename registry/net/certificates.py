"""What a certificate says of itself, whether or not anybody vouches for it. Judges nothing.

The standard library shows the fields of a certificate only once it has verified it, so this one file of the
network reads it with `cryptography`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from registry.wire.faults import printable

if TYPE_CHECKING:  # reading it costs a start of Ferry too much
    from cryptography import x509

_SHOWN = 80
_HOSTS = 3  # names of it that are told


@dataclass(frozen=True, slots=True)
class Certificate:
    """For which `hosts` it is, by whom it was issued, and from when until when it is good (UTC)."""

    hosts: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime

    @classmethod
    def read(cls, der: bytes | None) -> Certificate | None:
        """The certificate in these bytes (DER); None where it cannot be read."""
        from cryptography import x509

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd certificates, which are what is looked for here
                found = x509.load_der_x509_certificate(der or b"")
                return cls(
                    _hosts(found), _name(found.issuer), found.not_valid_before_utc, found.not_valid_after_utc
                )
        except (ValueError, TypeError, x509.DuplicateExtension):
            return None

    def __str__(self) -> str:
        shown = ", ".join(self.hosts[:_HOSTS]) or "no host"
        more = f" and {len(self.hosts) - _HOSTS} more" if len(self.hosts) > _HOSTS else ""
        return (
            f"for {shown}{more}, issued by {self.issuer}, good {self.begins:%Y-%m-%d} to {self.ends:%Y-%m-%d}"
        )


def _hosts(found: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    texts = (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))
    return tuple(printable(text)[:_SHOWN] for text in texts)


def _name(name: x509.Name) -> str:
    """An issuer as people know it: its common name, else its organisation, else all of it."""
    from cryptography.x509.oid import NameOID

    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(kind):
            return f'"{printable(str(found[0].value))[:_SHOWN]}"'
    return f'"{printable(name.rfc4514_string())[:_SHOWN]}"'
