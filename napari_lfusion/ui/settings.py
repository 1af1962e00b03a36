"""What the annotator set: the configurations of the manifest, in napari's preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.settings import get_plugin_settings

PLUGIN = "lfusion"


@dataclass(frozen=True)
class Settings:
    """The configurations of `napari.yaml`.

    Attributes:
        url: Of the server.
        user: Under which images are reserved; empty for the login name.
        advance: Whether the next case opens by itself.
        train_every: Submissions after which a training starts; 0 for never.
        threshold: Share of a map's scale, when the widget opens; 0 lets each image choose.
    """

    url: str = "http://127.0.0.1:8000"
    user: str = ""
    advance: bool = True
    train_every: int = 0
    threshold: float = 0.0

    @classmethod
    def load(cls) -> Settings:
        """As they are now; the defaults where the plugin is not installed."""
        stored = _stored()
        if stored is None:
            return cls()
        session = stored.session
        return cls(
            stored.connection.url,
            stored.connection.user,
            session.advance,
            session.train_every,
            session.threshold,
        )

    @staticmethod
    def remember(url: str, user: str) -> None:
        """Offer the same server and user next time.

        Args:
            url: Of the server.
            user: Name.
        """
        stored = _stored()
        if stored is not None:
            stored.connection.url, stored.connection.user = url, user


def _stored() -> Any:
    try:
        return get_plugin_settings(PLUGIN)
    except KeyError:  # run from a checkout that is not installed
        return None
