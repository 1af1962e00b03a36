"""The token file: who may call, and as what."""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from monailabel.config import settings
from monailabel.endpoints.user.auth import User

from lfusion.errors import LFusionError

Role = Literal["annotator", "admin"]

MIN_TOKEN = 20
"""Characters. A guess per millisecond finds none of 20 in the life of the universe."""

_HASHED = re.compile(r"sha256\$([0-9a-f]{64})")
_ANNOTATOR_ROLES = [
    settings.MONAI_LABEL_AUTH_ROLE_USER,
    settings.MONAI_LABEL_AUTH_ROLE_REVIEWER,
    settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
]


class TokenFileError(LFusionError):
    """The token file cannot be used; nobody is let in until it can."""


@dataclass(frozen=True)
class Account:
    """One line of the token file.

    Attributes:
        role: What its holder may do.
        name: Author of what its holder saves.
        digest: SHA-256 of the token.
    """

    role: Role
    name: str
    digest: bytes

    @property
    def user(self) -> User:
        """The same for MONAI Label's role check."""
        roles = list(_ANNOTATOR_ROLES)
        if self.role == "admin":
            roles.append(settings.MONAI_LABEL_AUTH_ROLE_ADMIN)
        return User(username=self.name, name=self.name, roles=roles)


def check_place(file: Path, folders: Sequence[Path]) -> None:
    """Refuse a token file in a folder whose files the server itself hands out or replaces.

    Args:
        file: The token file.
        folders: The studies folder, the state folder.

    Raises:
        TokenFileError: It lies, or its link points, inside one of them.
    """
    for place in (file.absolute(), file.resolve()):
        if any(place.is_relative_to(f) for folder in folders for f in (folder, folder.resolve())):
            raise TokenFileError(
                f"the token file {file} lies in a folder that the server serves, where an "
                "annotator could reach it; move it, for example to /etc/lfusion/tokens"
            )


class Tokens:
    """The accounts of a token file, read again when it changes.

    Args:
        file: Lines `role:user:token`; the token itself or `sha256$` and the hexadecimal SHA-256
            of it. Empty lines and lines from `#` are left out.

    Raises:
        TokenFileError: A line cannot be read, or others may read tokens in clear.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = (0, 0, 0)
        self._accounts: Sequence[Account] = ()
        self._refresh()

    def account(self, token: str) -> Account | None:
        """Whose token this is; takes as long for a wrong one as for a right one.

        Raises:
            TokenFileError: The file was changed and cannot be read any more.
        """
        self._refresh()
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        for account in self._accounts:
            if hmac.compare_digest(digest, account.digest):
                found = account
        return found

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._accounts = _read_accounts(self._file)
                self._stamp = stamp
        except OSError as error:
            raise TokenFileError(
                f"expected a readable token file; {self._file}: {error.strerror}"
            ) from error


def _read_accounts(file: Path) -> list[Account]:
    accounts: list[Account] = []
    in_clear = False
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        role, _, rest = line.strip().partition(":")
        name, _, token = rest.partition(":")
        hashed = _HASHED.fullmatch(token)
        if (
            role not in ("annotator", "admin")
            or not name
            or (not hashed and len(token) < MIN_TOKEN)
        ):
            raise TokenFileError(
                f"{file}, line {number}: expected annotator:NAME:TOKEN or admin:NAME:TOKEN with a "
                f"token of at least {MIN_TOKEN} characters, or sha256$ and its SHA-256; make one "
                "with `openssl rand -hex 32`"
            )
        in_clear |= not hashed
        digest = bytes.fromhex(hashed[1]) if hashed else sha256(token.encode()).digest()
        accounts.append(Account("admin" if role == "admin" else "annotator", name, digest))
    if not accounts:
        raise TokenFileError(f"{file}: expected at least one line role:user:token, found none")
    if in_clear and os.stat(file).st_mode & stat.S_IRWXO:
        raise TokenFileError(
            f"{file}: expected that only its owner can read tokens in clear; other users can; "
            f"run `chmod 600 {file}` or write sha256$ digests"
        )
    return accounts
