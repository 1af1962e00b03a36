"""Who is let in: the token file, and without one, this machine alone."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from monailabel_app.lib.auth import LocalAdmission, TokenAdmission, role_of
from monailabel_app.lib.errors import ForbiddenError, UnauthenticatedError
from monailabel_app.lib.tokens import TokenFileError, Tokens, check_place

TOKEN = "a-token-of-some-length"
OTHER = "another-token-of-length"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A token file with an annotator in clear and an administrator by digest."""
    path = tmp_path / "tokens"
    digest = sha256(OTHER.encode()).hexdigest()
    path.write_text(f"# people\n\nannotator:ann:{TOKEN}\nadmin:bo:sha256${digest}\n")
    path.chmod(0o600)
    return path


class TestTokenFile:
    def test_in_clear_and_by_digest(self, file: Path) -> None:
        tokens = Tokens(file)
        found = {word: tokens.account(word) for word in (TOKEN, OTHER, "", TOKEN[:-1])}
        names = {word: None if who is None else (who.role, who.name) for word, who in found.items()}
        assert names == {
            TOKEN: ("annotator", "ann"),
            OTHER: ("admin", "bo"),
            "": None,
            TOKEN[:-1]: None,
        }

    def test_a_digest_is_no_token(self, file: Path) -> None:
        digest = sha256(OTHER.encode()).hexdigest()
        assert Tokens(file).account(digest) is None
        assert Tokens(file).account(f"sha256${digest}") is None

    def test_a_token_may_hold_colons(self, file: Path) -> None:
        file.write_text("admin:bo:twenty:characters:or:more\n")
        assert Tokens(file).account("twenty:characters:or:more") is not None

    def test_a_line_that_is_taken_out_ends_the_token_at_once(self, file: Path) -> None:
        tokens = Tokens(file)
        file.write_text(f"annotator:ann:{TOKEN}\n")
        assert tokens.account(OTHER) is None
        assert tokens.account(TOKEN) is not None

    def test_a_file_that_is_damaged_later_lets_nobody_in(self, file: Path) -> None:
        tokens = Tokens(file)
        file.write_text("nonsense\n")
        for _ in range(2):
            with pytest.raises(TokenFileError, match="line 1"):
                tokens.account(TOKEN)
        file.unlink()
        with pytest.raises(TokenFileError, match="readable token file"):
            tokens.account(TOKEN)

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "# only a comment",
            "annotator:ann",
            "annotator:ann:short",
            f"annotator::{TOKEN}",
            f"root:ann:{TOKEN}",
            "admin:bo:sha256$12",
        ],
    )
    def test_a_line_that_is_no_account_is_named(self, file: Path, line: str) -> None:
        file.write_text(line + "\n")
        with pytest.raises(TokenFileError, match="expected"):
            Tokens(file)

    def test_tokens_in_clear_are_for_the_owner_alone(self, file: Path) -> None:
        file.chmod(0o644)
        with pytest.raises(TokenFileError, match="chmod 600"):
            Tokens(file)
        file.write_text(f"admin:bo:sha256${sha256(OTHER.encode()).hexdigest()}\n")
        assert Tokens(file).account(OTHER) is not None


class TestPlaceOfTheTokenFile:
    def test_beside_the_studies(self, file: Path) -> None:
        check_place(file, [file.parent / "studies", file.parent / "state"])

    @pytest.mark.parametrize("place", ["tokens", "deeper/tokens", ".lfusion/tokens"])
    def test_inside_them(self, tmp_path: Path, place: str) -> None:
        studies = tmp_path / "studies"
        with pytest.raises(TokenFileError, match="move it"):
            check_place(studies / place, [studies])

    def test_by_a_link(self, tmp_path: Path) -> None:
        studies, state = tmp_path / "studies", tmp_path / "state"
        for folder in (studies, state):
            folder.mkdir()
        (studies / "tokens").write_text("")
        (tmp_path / "link").symlink_to(studies / "tokens")
        (tmp_path / "folder").symlink_to(state)
        for folders, file in (
            ([studies], tmp_path / "link"),
            ([state], tmp_path / "folder" / "tokens"),
            ([tmp_path / "folder"], state / "tokens"),
        ):
            with pytest.raises(TokenFileError, match="move it"):
                check_place(file, folders)


class TestTokenAdmission:
    @pytest.mark.parametrize(("token", "role"), [(TOKEN, "annotator"), (OTHER, "admin")])
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_a_known_token(self, file: Path, token: str, role: str, scheme: str) -> None:
        headers = Headers({"authorization": f"{scheme} {token}"})
        user = TokenAdmission(Tokens(file)).admit("GET", "/info/", headers)
        assert role_of(user) == role

    @pytest.mark.parametrize(
        "value", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer é"]
    )
    def test_anything_else(self, file: Path, value: str) -> None:
        headers = Headers({"authorization": value})
        with pytest.raises(UnauthenticatedError, match="Authorization: Bearer"):
            TokenAdmission(Tokens(file)).admit("GET", "/info/", headers)

    def test_what_is_public_has_no_role(self, file: Path) -> None:
        user = TokenAdmission(Tokens(file)).admit("GET", "/health", Headers())
        assert user.roles == []


class TestLocalAdmission:
    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "127.1.2.3"])
    def test_a_program_of_this_machine(self, host: str) -> None:
        user = LocalAdmission().admit("POST", "/train/lfusion", Headers({"host": host}))
        assert role_of(user) == "admin"

    def test_a_page_of_this_server(self) -> None:
        headers = Headers({"host": "localhost:8000", "origin": "http://localhost:8000"})
        assert role_of(LocalAdmission().admit("POST", "/infer/lfusion", headers)) == "admin"

    @pytest.mark.parametrize(
        "host", ["", "evil.example", "evil.example:8000", "10.0.0.1", "[", "a@b"]
    )
    def test_another_name_for_this_machine(self, host: str) -> None:
        with pytest.raises(ForbiddenError, match="--token-file"):
            LocalAdmission().admit("GET", "/info/", Headers({"host": host}))

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9", "["])
    def test_a_page_of_another_site(self, origin: str) -> None:
        headers = Headers({"host": "localhost:8000", "origin": origin})
        with pytest.raises(ForbiddenError):
            LocalAdmission().admit("POST", "/train/lfusion", headers)
