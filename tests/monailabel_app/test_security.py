"""`lfusion serve --token-file`: what each role may do, asked over the wire."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from lfusion.cli.server_process import running_server

with warnings.catch_warnings():
    # As in conftest.py: it warns of its own future.
    warnings.simplefilter("ignore")
    from monailabel.client import MONAILabelClient
    from monailabel.client.client import MONAILabelClientException

    from lfusion.checkpoint import Checkpoint

ANNOTATOR, ADMIN = "annotators-token-of-this-test", "administrators-token-of-this-test"


class Guarded:
    """A server that asks for tokens, seen by each kind of caller."""

    def __init__(self, url: str, studies: Path) -> None:
        self.url = url
        self.studies = studies
        self.nobody = httpx.Client(base_url=url, timeout=120)
        self.annotator = self._client(ANNOTATOR)
        self.admin = self._client(ADMIN)

    def _client(self, token: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, timeout=120, headers=headers)

    def close(self) -> None:
        for client in (self.nobody, self.annotator, self.admin):
            client.close()


@pytest.fixture(scope="module")
def guarded(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """The server over three drawn heads; it takes uploads of up to 1 MiB."""
    folder = tmp_path_factory.mktemp("guarded")
    studies = folder / "studies"
    studies.mkdir()
    for number in range(3):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    tokens = folder / "tokens"
    tokens.write_text(f"annotator:ann:{ANNOTATOR}\nadmin:bo:{ADMIN}\n")
    tokens.chmod(0o600)
    options = ["--checkpoint", str(tiny_checkpoint), "--token-file", str(tokens)]
    options += ["--max-upload-mib", "1"]
    with running_server(studies, folder / "log", *options) as url:
        server = Guarded(url, studies)
        yield server
        server.close()


def error_of(reply: httpx.Response) -> tuple[int, str]:
    """Status and code; anything but our JSON with a message fails the test."""
    body = reply.json()
    assert set(body) == {"code", "message"}
    assert body["message"]
    return reply.status_code, body["code"]


HIDDEN = [
    *[(method, path) for path in ("/", "/docs", "/openapi.json") for method in ("GET",)],
    ("GET", "/static/favicon.ico"),
    ("GET", "/ohif/"),
    ("GET", "/ohif/%2e%2e/%2e%2e/login.py"),
    ("POST", "/reload"),
    ("GET", "/logs/"),
    ("GET", "/logs/gpu"),
    ("POST", "/batch/infer/lfusion"),
    ("POST", "/infer/wsi_v2/lfusion"),
    ("GET", "/proxy/dicom/wado/studies"),
    ("GET", "/nothing/here"),
]
"""Routes that the list of routes does not show."""

ADMINS = [
    ("POST", "/train/lfusion"),
    ("POST", "/train/"),
    ("DELETE", "/train/"),
    ("POST", "/model/rollback"),
    ("GET", "/model/lfusion"),
    ("GET", "/model/info/lfusion"),
    ("PUT", "/model/lfusion"),
    ("DELETE", "/datastore/?id=head00"),
    ("DELETE", "/datastore/image?id=head00"),
    ("DELETE", "/datastore/label?id=head00&tag=final"),
]
NOBODYS = [
    ("POST", "/reload"),
    ("GET", "/logs/"),
    ("GET", "/logs/gpu"),
    ("POST", "/batch/infer/lfusion"),
    ("POST", "/infer/wsi_v2/lfusion"),
    ("GET", "/datastore/dataset"),
]


class TestStrangers:
    def test_every_route_asks_for_a_token(self, guarded: Guarded) -> None:
        paths = guarded.annotator.get("/openapi.json").json()["paths"]
        listed = [(method.upper(), path) for path, item in paths.items() for method in item]
        open_ones = {
            ("GET", "/health"),
            ("GET", "/ready"),
            ("GET", "/auth/"),
            ("POST", "/auth/token"),
        }
        assert open_ones <= set(listed)
        closed = [route for route in [*listed, *HIDDEN] if route not in open_ones]
        assert len(closed) > 30
        for method, path in closed:
            reply = guarded.nobody.request(method, path.replace("{", "").replace("}", ""))
            if method == "HEAD":
                assert reply.status_code == 401
            else:
                assert error_of(reply) == (401, "unauthenticated"), (method, path)
            assert reply.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("token", [ANNOTATOR[:-1], ADMIN + "x", "null", "e30.e30.e30"])
    def test_a_wrong_token(self, guarded: Guarded, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"}
        assert error_of(guarded.nobody.get("/info/", headers=headers))[0] == 401

    def test_health_says_nothing_of_the_studies(self, guarded: Guarded) -> None:
        assert guarded.nobody.get("/health").json() == {"status": "ok"}

    def test_other_web_pages_get_no_permission(self, guarded: Guarded) -> None:
        asked = {
            "origin": "https://evil.example",
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        for reply in (
            guarded.nobody.options("/info/", headers=asked),
            guarded.annotator.get("/info/", headers={"origin": "https://evil.example"}),
        ):
            assert not [name for name in reply.headers if name.startswith("access-control")]


class TestRoles:
    @pytest.mark.parametrize(("method", "path"), ADMINS + NOBODYS)
    def test_closed_to_annotators(self, guarded: Guarded, method: str, path: str) -> None:
        files = {"file": ("model.safetensors", b"")} if method == "PUT" else None
        reply = guarded.annotator.request(method, path, files=files)
        assert error_of(reply) == (403, "forbidden")

    @pytest.mark.parametrize(("method", "path"), NOBODYS)
    def test_closed_to_all(self, guarded: Guarded, method: str, path: str) -> None:
        assert error_of(guarded.admin.request(method, path)) == (403, "forbidden")

    def test_everybody_learns_their_role(self, guarded: Guarded) -> None:
        roles = [
            client.get("/info/").json()["lfusion"]["role"]
            for client in (guarded.annotator, guarded.admin)
        ]
        assert roles == ["annotator", "admin"]

    def test_annotators_annotate(self, guarded: Guarded, heads: Path) -> None:
        http = guarded.annotator
        image = http.post("/activelearning/epistemic", json={}).json()["id"]
        reply = http.post("/infer/lfusion", params={"image": image, "output": "json"})
        assert reply.is_success
        mask = heads / "masks" / f"{image}.png"
        saved = http.put(
            "/datastore/label",
            params={"image": image, "tag": "final"},
            data={"params": json.dumps({"user": "somebody else"})},
            files={"label": (mask.name, mask.read_bytes())},
        )
        assert saved.is_success
        info = http.get("/datastore/label/info", params={"label": image, "tag": "final"}).json()
        assert "somebody else" not in json.dumps(info)


class TestModels:
    def test_an_administrator_swaps_them_as_files(
        self, guarded: Guarded, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        base = Checkpoint.load(tiny_checkpoint)
        other = tmp_path / "other.safetensors"
        there = replace(base, fingerprint=replace(base.fingerprint, code="elsewhere"))
        there.save(other)
        reply = self._upload(guarded, other.read_bytes())
        assert reply.json() == {"checkpoint_id": there.id}
        assert guarded.admin.get("/model/lfusion").content == other.read_bytes()
        image = {"image": "head00", "output": "json"}
        used = guarded.annotator.post("/infer/lfusion", params=image).json()["checkpoint_id"]
        assert used == there.id
        back = guarded.admin.post("/model/rollback").json()
        assert back == {"checkpoint_id": base.id}
        assert guarded.admin.get("/model/info/lfusion").json()["checkpoint_id"] == base.id

    def test_one_that_cannot_be_used_changes_nothing(
        self, guarded: Guarded, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        before = guarded.admin.get("/model/info/lfusion").json()
        strange = tmp_path / "strange.safetensors"
        replace(Checkpoint.load(tiny_checkpoint), labels={"heart": 1}).save(strange)
        for content in (b"", tiny_checkpoint.read_bytes()[:1000], strange.read_bytes()):
            assert error_of(self._upload(guarded, content)) == (400, "bad_request")
        assert guarded.admin.get("/model/info/lfusion").json() == before

    def _upload(self, guarded: Guarded, content: bytes) -> httpx.Response:
        files = {"file": ("model.safetensors", content)}
        return guarded.admin.put("/model/lfusion", files=files)


class TestLimits:
    def test_a_long_upload(self, guarded: Guarded) -> None:
        before = sorted(guarded.studies.iterdir())
        files = {"file": ("new.png", bytes(2**20 + 1))}
        reply = guarded.annotator.put("/datastore/image", params={"image": "new"}, files=files)
        assert error_of(reply) == (413, "too_large")
        assert sorted(guarded.studies.iterdir()) == before

    def test_long_parameters(self, guarded: Guarded) -> None:
        reply = guarded.annotator.post("/activelearning/random", json={"a": "x" * 2**20})
        assert error_of(reply) == (413, "too_large")

    @pytest.mark.parametrize("where", ["/infer/lfusion", "/session/", "/datastore/image?image=new"])
    def test_a_small_file_of_a_large_image(self, guarded: Guarded, where: str) -> None:
        header = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 1000000 1000000\nencoding: raw\n\n"
        field = "files" if where == "/session/" else "file"
        method = "POST" if where.startswith("/infer") else "PUT"
        reply = guarded.annotator.request(method, where, files={field: ("new.nrrd", header)})
        assert error_of(reply) == (413, "too_large")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestSlicersSignIn:
    @pytest.fixture
    def client(self, guarded: Guarded, tmp_path: Path) -> MONAILabelClient:
        """MONAI Label's client, which 3D Slicer has too."""
        return MONAILabelClient(guarded.url, tmpdir=str(tmp_path), client_id="slicer")

    def test_user_and_token(self, client: Any) -> None:
        assert client.auth_enabled()
        assert not client.auth_valid_token()
        client.update_auth(client.auth_token("ann", ANNOTATOR))
        assert client.auth_valid_token()
        assert client.info()["lfusion"]["role"] == "annotator"

    @pytest.mark.parametrize(
        ("user", "password"), [("ann", "wrong"), ("bo", ANNOTATOR), ("", ""), ("ann", "")]
    )
    def test_a_wrong_password(self, client: Any, user: str, password: str) -> None:
        with pytest.raises(MONAILabelClientException):
            client.auth_token(user, password)

    def test_a_session(self, client: Any, heads: Path) -> None:
        client.update_auth(client.auth_token("ann", ANNOTATOR))
        session = client.create_session(str(heads / "images" / "head05.png"))["session_id"]
        assert client.get_session(session)["name"] == session
        _, params = client.infer("lfusion", "", {}, session_id=session)
        assert params["label_names"] == {"fetal head": 1}
        client.remove_session(session)
        with pytest.raises(MONAILabelClientException):
            client.get_session(session)
