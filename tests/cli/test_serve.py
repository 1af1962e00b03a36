"""`lfusion serve` says at once what it cannot serve."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lfusion.cli import app
from lfusion.cli.serve import listen


def error_of(*options: str) -> str:
    """The one line that a user sees of a refused start."""
    result = CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.stderr


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert "nowhere is none; create it first" in error_of("--studies", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("size", [0, 20, 1000])
def test_a_checkpoint_that_is_cut_off(tmp_path: Path, tiny_checkpoint: Path, size: int) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_checkpoint.read_bytes()[:size])
    assert "error: cut.safetensors" in error_of(
        "--studies", str(tmp_path), "--checkpoint", str(cut)
    )
    assert list(tmp_path.iterdir()) == [cut]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "label.example.org", ""])
def test_a_public_address_needs_tokens(tmp_path: Path, host: str) -> None:
    assert "expected --token-file to listen on" in error_of(
        "--studies", str(tmp_path), "--host", host
    )


def test_a_token_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    assert "lines role:user:token, found none" in error_of(
        "--studies", str(tmp_path), "--host", "0.0.0.0", "--token-file", str(file)
    )


def test_monai_labels_own_sign_in_is_not_taken_for_protection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    assert "name the users with --token-file" in error_of("--studies", str(tmp_path))


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port}: Address already in use" in error_of(
            "--studies", str(tmp_path), "--port", port
        )


def test_an_answer_on_an_open_connection_waits_for_no_acknowledgement() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
