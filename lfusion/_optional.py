"""Optional dependencies: the one place that knows which extra brings what."""

from __future__ import annotations

from importlib.util import find_spec

from lfusion.errors import MissingExtraError


def require(module: str, extra: str) -> None:
    """Refuse to go on without an optional dependency; nothing is imported.

    Args:
        module: top-level module that the coming code imports.
        extra: extra of lfusion that installs it.

    Raises:
        MissingExtraError: the module is not installed; the message names the extra.
    """
    if find_spec(module) is None:
        raise MissingExtraError(
            f'this needs {module}, which is not installed: pip install "lfusion[{extra}]"'
        )
