"""Links that carry their own permission: to a blob for days, into an upload for an hour (PROTOCOL section 3).

A link only says on whose behalf it was given. What they may do is looked up when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.errors import DeniedError, InvalidError
from registry.model.digests import Digest
from registry.server.principal import Principal
from registry.server.tokens import Signer, text_claim

UPLOAD_SECONDS = 3600  # a direct upload must have begun by then
DAY = 86_400


@dataclass(frozen=True, slots=True)
class DownloadLink:
    """What a download link is good for: one blob through one repository, on behalf of a credential."""

    credential: str
    repository: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class UploadLink:
    """What an upload link is good for: all `size` bytes of one upload, on behalf of a credential."""

    credential: str
    repository: str
    session: str
    size: int


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and reads the secret parts of links; `audience` is always the origin one is used at.

    The credential "" is anybody.
    """

    signer: Signer
    download_seconds: int = 7 * DAY

    def __post_init__(self) -> None:
        if not 60 <= self.download_seconds <= 365 * DAY:
            raise InvalidError("a download link lives between a minute and 365 days")

    def download(self, audience: str, principal: Principal, repository: str, digest: Digest) -> str:
        """One blob, for days, and only as long as the right behind it lasts."""
        claims = {"credential": principal.claim, "repository": repository, "digest": str(digest)}
        return self.signer.sign(audience, _downloads(audience), self.download_seconds, claims)

    def read_download(self, audience: str, link: str) -> DownloadLink:
        """What a link is good for; DeniedError if it is forged, expired, or no link."""
        claims = self.signer.verify(audience, _downloads(audience), link)
        try:
            digest = Digest.parse(text_claim(claims, "digest"))
        except InvalidError:
            raise DeniedError("the link names no blob") from None
        return DownloadLink(text_claim(claims, "credential"), text_claim(claims, "repository"), digest)

    def upload(self, audience: str, principal: Principal, repository: str, session: str, size: int) -> str:
        """One upload, begun within the hour, while the right behind it lasts."""
        where = {"repository": repository, "session": session, "size": size}
        claims = {"credential": principal.claim, **where}
        return self.signer.sign(audience, _uploads(audience), UPLOAD_SECONDS, claims)

    def read_upload(self, audience: str, link: str) -> UploadLink:
        """What an upload link is good for; DeniedError if it is forged, expired, or no such link."""
        claims = self.signer.verify(audience, _uploads(audience), link)
        size = claims.get("size")
        if not isinstance(size, int):
            raise DeniedError("the link says no size")
        repository, session = text_claim(claims, "repository"), text_claim(claims, "session")
        return UploadLink(text_claim(claims, "credential"), repository, session, size)


def _downloads(audience: str) -> str:
    """The audience of download links: they are no tokens, and tokens are no links."""
    return f"{audience}/v2/_capability"


def _uploads(audience: str) -> str:
    """The audience of upload links: who may read a blob by a link cannot write by it."""
    return f"{audience}/v2/_storage"
