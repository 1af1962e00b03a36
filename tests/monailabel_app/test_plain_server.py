"""The app under MONAI Label's own server, without our routes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import httpx

import monailabel_app
from lfusion.cli.server_process import free_port, running_command


def test_the_loop_works_with_less(heads: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    studies = Path(shutil.copytree(heads / "images", tmp_path / "my studies"))
    # MONAI Label makes folders for logs and models in the app; this copy is for them.
    app = tmp_path / "monailabel_app"
    shutil.copytree(Path(monailabel_app.__file__).parent, app)
    port = free_port()
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app)]
    command += ["--studies", str(studies), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "sam2", "false", "--conf", "checkpoint", str(tiny_checkpoint)]
    url = f"http://127.0.0.1:{port}"
    with (
        running_command(command, f"{url}/info/", tmp_path / "server.log"),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        sample = http.post("/activelearning/epistemic", json={}).json()
        image = {"image": sample["id"]}
        reply = http.post("/infer/lfusion", params={**image, "output": "json"}).json()
        assert reply["checkpoint_id"] == sample["lfusion"]["checkpoint_id"]
        label = heads / "masks" / f"{sample['id']}.png"
        saved = http.put(
            "/datastore/label", params=image, files={"label": (label.name, label.read_bytes())}
        )
        assert saved.is_success
        following = http.post("/activelearning/epistemic", json={}).json()
        assert following["id"] != sample["id"]
        # Its errors are MONAI Label's, but it reads no file of the server either.
        hostile = http.post("/infer/lfusion", params={"image": "/etc/hostname"})
        assert hostile.status_code == 500
