"""Where to connect, as whom."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from napari_lfusion.core.errors import RefusedError


@dataclass(frozen=True)
class Account:
    """A server and who works there.

    Attributes:
        url: Address, http or https, without a slash at the end.
        user: Name that leases and labels carry.
        token: Bearer token, or None for a server without authentication.
    """

    url: str
    user: str
    token: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, user: str, token: str | None = None) -> Account:
        """Read what a person typed; `host:port` means http.

        Raises:
            RefusedError: The address is none, or the name is empty.

        Example:
            >>> Account.parse(" 127.0.0.1:8000/ ", "ada").url
            'http://127.0.0.1:8000'
        """
        text = url.strip()
        text = text if "://" in text else f"http://{text}"
        try:
            parsed = httpx.URL(text)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise RefusedError(
                f"expected the address of a server such as http://127.0.0.1:8000; got {url!r}"
            )
        if not user.strip():
            raise RefusedError("expected a user name, by which others see who holds an image")
        return cls(text.rstrip("/"), user.strip(), (token or "").strip() or None)
