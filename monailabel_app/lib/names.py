"""Which image ids and label tags may become file names.

Ids and tags come from the network and end up in paths. The rule is a white list
of shape, checked before any path is built, so that nothing outside the studies
folder can be named.
"""

from __future__ import annotations

import re
import unicodedata

from monailabel_app.lib.errors import InvalidNameError

MAX_NAME = 200
"""Characters; leaves room for suffixes within the 255 bytes of common file systems."""

STRUCTURES_KEY = "structures"
"""In the info of a label: class number by name of what could be drawn when it was saved."""

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SEPARATORS = frozenset('/\\:*?"<>|')


def check_image_id(image_id: str) -> str:
    """Accept an image id that is one plain file name without its suffix.

    Args:
        image_id: As a client sent it.

    Returns:
        The same id.

    Raises:
        InvalidNameError: It is empty, too long, hidden, names a folder, or
            holds characters that a file name cannot.

    Example:
        >>> check_image_id("exam 12_HC")
        'exam 12_HC'
    """
    characters = set(image_id)
    if (
        not image_id.strip()
        or len(image_id.encode("utf-8", "surrogateescape")) > MAX_NAME
        or image_id.startswith(".")
        or characters & _SEPARATORS
        or any(unicodedata.category(c).startswith("C") for c in characters)
    ):
        raise InvalidNameError(
            f"expected an image id of 1 to {MAX_NAME} bytes without path separators, control "
            f"characters or a leading dot; got {image_id[:80]!r}"
        )
    return image_id


def is_tag(name: str) -> bool:
    """Whether a name can be a label tag.

    Example:
        >>> is_tag("final"), is_tag("final (copy)")
        (True, False)
    """
    return _TAG.fullmatch(name) is not None


def check_tag(tag: str) -> str:
    """Accept a label tag of letters, digits, `_` and `-`.

    Args:
        tag: As a client sent it.

    Returns:
        The same tag.

    Raises:
        InvalidNameError: It is anything else.
    """
    if not is_tag(tag):
        raise InvalidNameError(
            f"expected a label tag of 1 to 64 letters, digits, '_' or '-'; got {tag[:80]!r}"
        )
    return tag
