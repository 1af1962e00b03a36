"""`lfusion serve`: the MONAI Label server over one folder of images or a DICOMweb store."""

from __future__ import annotations

import json
import os
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from lfusion._hosts import is_loopback
from lfusion._optional import require
from lfusion.cli.console import BadArgumentError
from lfusion.errors import CheckpointError, DatasetError, MissingExtraError

_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
}


_HEADER_BYTES = 16 * 1024
"""Of a request line with all its headers; browsers send one or two kilobytes."""


def serve(
    studies: Annotated[
        str,
        typer.Option(help="Folder of images, also for labels; or address of a DICOMweb store."),
    ],
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65535)] = 8000,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; another than this machine's needs --token-file."),
    ] = "127.0.0.1",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Model to start from, instead of the shipped one.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Structure to label, once for each in the order of their class numbers; the model "
            "learns those that it does not know from your labels. Kept for the next start."
        ),
    ] = None,
    app_state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for retrained models, and for copies of a store's images; by default "
            "STUDIES/.lfusion."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Who may call: lines role:user:token, role annotator or admin."),
    ] = None,
    train_after: Annotated[
        int,
        typer.Option(
            help="Retrain quickly after each so many saved labels; 0 only when asked.", min=0
        ),
    ] = 0,
    max_upload_mib: Annotated[
        int, typer.Option(help="Largest upload in MiB.", min=1, max=65536)
    ] = 512,
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            help="Log each request: method, route, status, time and user; no ids and no tokens.",
        ),
    ] = False,
) -> None:
    """Serve a folder or store of images to 3D Slicer, napari and every MONAI Label client."""
    remote = studies.startswith(("http://", "https://"))
    if remote and app_state is None:
        raise BadArgumentError("expected --app-state FOLDER to keep copies of a store's images in")
    if not remote and not Path(studies).is_dir():
        raise DatasetError(f"expected a folder of images; {studies} is none; create it first")
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"expected a checkpoint file, found none at {checkpoint}")
    _check_host(host, token_file)
    package = _package_folder()
    from lfusion.checkpoint import Checkpoint, default_checkpoint_path

    # The server loads it too, but only after half a minute of imports on a slow machine.
    Checkpoint.load(checkpoint or default_checkpoint_path())
    state = (app_state or Path(studies) / ".lfusion").resolve()
    conf: dict[str, Any] = {"state": str(state), "max_upload_mib": max_upload_mib}
    if access_log:
        conf["access_log"] = "true"
    if label:
        conf["labels"] = json.dumps(label)
    if train_after:
        conf["train_after"] = str(train_after)
    if token_file is not None:
        conf["token_file"] = str(token_file.resolve())
    if checkpoint is not None:
        conf["checkpoint"] = str(checkpoint.resolve())
    # MONAI Label's settings are read from the environment when it is imported.
    os.environ.update(
        MONAI_LABEL_APP_DIR=str(package),
        MONAI_LABEL_STUDIES=studies if remote else str(Path(studies).resolve()),
        MONAI_LABEL_APP_CONF=json.dumps(conf),
        MONAI_LABEL_SERVER_PORT=str(port),
        MONAI_LABEL_AUTO_UPDATE_SCORING="false",
        # Has its routes check roles; the users come from the token file.
        MONAI_LABEL_AUTH_ENABLE=str(token_file is not None).lower(),
        MONAI_LABEL_SESSION_PATH=str(state / "sessions"),
    )
    # Before the long imports: a port in use is told now, and nobody else gets it meanwhile.
    with listen(host, port) as listener:
        _run(listener)


def _run(listener: socket.socket) -> None:
    """Serve until Ctrl-C or a signal; the settings are in the environment."""
    import uvicorn

    config = uvicorn.Config(
        "monailabel_app.server:ready_app",
        factory=True,
        log_config=_LOGGING,
        access_log=False,  # uvicorn's own holds queries, and with them image ids
        timeout_graceful_shutdown=5,
        http="monailabel_app.lib.connection:GuardedProtocol",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; connections wait in it until the server is ready.

    Args:
        host: Address of this machine.
        port: TCP port.

    Raises:
        BadArgumentError: The address is not free, or none of this machine.
    """
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise BadArgumentError(
            f"expected a free address; cannot listen on {host}, port {port}: {error.strerror}; "
            "another server may run there: choose another --port"
        ) from error
    # asyncio does it only for sockets that it made; without it, each answer on a connection that
    # is kept open waits 40 ms for the client to acknowledge the answer's first packet.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _check_host(host: str, token_file: Path | None) -> None:
    """Refuse to let anybody but this machine in without tokens."""
    if token_file is not None:
        if not token_file.is_file():
            raise BadArgumentError(
                f"expected a file with lines role:user:token, found none at {token_file}"
            )
    elif os.environ.get("MONAI_LABEL_AUTH_ENABLE", "").lower() in ("1", "true", "yes", "on"):
        raise BadArgumentError(
            "MONAI_LABEL_AUTH_ENABLE is set, but MONAI Label's own sign-in rejects every user; "
            "unset it and name the users with --token-file"
        )
    elif not is_loopback(host):
        raise BadArgumentError(
            f"expected --token-file to listen on {host}: everybody who reaches that address could "
            "read and change the studies; see docs/security.md"
        )


def _package_folder() -> Path:
    """Where the app is installed; the server is not imported before its settings are made."""
    require("monailabel", extra="server")
    app = find_spec("monailabel_app")
    if app is None or app.origin is None:
        raise MissingExtraError("expected the package monailabel_app; install lfusion again")
    return Path(app.origin).parent
