"""A bad request gets one JSON error, and nothing is lost, overwritten or written elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from lfusion.image import write_mask

if TYPE_CHECKING:
    from tests.monailabel_app.conftest import Served

ELSEWHERE = ["../outside", "/etc/hostname", "..", ".", "a/../../outside", "labels/final/head05"]
HOSTILE = [
    "nul\0",
    "x" * 4096,
    "\u202egnp.daeh",
    "\uff0e\uff0e\uff0fx",
    "%2e%2e%2fx",
    "head05\n",
    "CON:",
]
"""Further names: no bytes of a path, too long, or read as another one by somebody."""


def error_of(reply: httpx.Response) -> tuple[int, str]:
    """Status and code of an error; anything but our JSON with a message fails the test."""
    body = reply.json()
    assert set(body) == {"code", "message"}
    assert body["message"]
    assert "Traceback" not in reply.text
    return reply.status_code, body["code"]


def save(served: Served, image: str, label: Path, tag: str = "final", **params: Any) -> Any:
    return served.http.put(
        "/datastore/label",
        params={"image": image, "tag": tag},
        data={"params": json.dumps(params)},
        files={"label": (label.name, label.read_bytes())},
    )


def files_around(served: Served) -> dict[Path, bytes]:
    """Every file of the studies and beside them, but the server's log and index."""
    changing = {"server.log", "training.json"}
    return {
        path: path.read_bytes()
        for path in served.studies.parent.rglob("*")
        if path.is_file() and path.name not in changing and not path.match("index.sqlite*")
    }


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A label that fits the images."""
    path = tmp_path / "mask.png"
    write_mask(path, np.eye(96, 128, dtype=np.uint8))
    return path


class TestNames:
    @pytest.mark.parametrize("image", ["nobody", "", *ELSEWHERE, *HOSTILE])
    def test_an_image_that_is_not_in_the_pool(self, served: Served, image: str) -> None:
        reply = served.http.post("/infer/lfusion", params={"image": image})
        assert error_of(reply) == (404, "not_found")
        for path in ("/datastore/image", "/versions"):
            reply = served.http.get(path, params={"image": image})
            assert error_of(reply) == (404, "not_found")
        reply = served.http.get("/datastore/label", params={"label": image, "tag": "final"})
        assert error_of(reply) == (404, "not_found")
        reply = served.http.put("/lease", params={"image": image, "client_id": image or "ann"})
        assert error_of(reply)[0] in (400, 404)

    def test_parameters_do_not_redirect_an_inference(self, served: Served) -> None:
        hijack = {"image": "/etc/hostname", "model": "other", "image_id": "head01"}
        reply = served.http.post(
            "/infer/lfusion",
            params={"image": "head01", "output": "json"},
            data={"params": json.dumps(hijack)},
        )
        assert reply.is_success

    @pytest.mark.parametrize("image", ["nobody", *ELSEWHERE, *HOSTILE])
    def test_a_label_of_no_image(self, served: Served, image: str, mask: Path) -> None:
        before = files_around(served)
        assert error_of(save(served, image, mask)) == (404, "not_found")
        assert files_around(served) == before

    @pytest.mark.parametrize(
        "tag",
        ["../../outside", "/tmp/outside", "a b", "..", "x" * 65, "x" * 4096, "nul\0", "\u00e9"],
    )
    def test_a_tag_that_is_no_folder_name(self, served: Served, tag: str, mask: Path) -> None:
        before = files_around(served)
        assert error_of(save(served, "head05", mask, tag)) == (400, "bad_request")
        assert files_around(served) == before

    @pytest.mark.parametrize(
        "image", [*ELSEWHERE, ".hidden", "nul\0", "x" * 4096, "\u202egnp.daeh", "a\n", "\ud7ff/.."]
    )
    def test_a_new_image_whose_id_is_no_file_name(
        self, served: Served, image: str, mask: Path
    ) -> None:
        before = files_around(served)
        reply = served.http.put(
            "/datastore/image",
            params={"image": image},
            files={"file": (mask.name, mask.read_bytes())},
        )
        assert error_of(reply) == (400, "bad_request")
        assert files_around(served) == before

    def test_an_image_is_not_replaced(self, served: Served, mask: Path) -> None:
        before = files_around(served)
        reply = served.http.put(
            "/datastore/image",
            params={"image": "head05"},
            files={"file": (mask.name, mask.read_bytes())},
        )
        assert error_of(reply) == (409, "conflict")
        assert files_around(served) == before

    @pytest.mark.parametrize("session", ["../../etc", "nobody"])
    def test_a_session_that_is_none(self, served: Served, session: str) -> None:
        reply = served.http.post("/infer/lfusion", params={"session_id": session})
        assert error_of(reply)[0] in (400, 404)

    @pytest.mark.parametrize(
        "path", ["/infer/other?image=head01", "/activelearning/other", "/train/other"]
    )
    def test_an_unknown_model_or_strategy(self, served: Served, path: str) -> None:
        assert error_of(served.http.post(path)) == (404, "not_found")


class TestLabels:
    @pytest.mark.parametrize(
        ("label", "code"),
        [
            (np.ones((128, 96), np.uint8), "bad_label"),
            (np.ones((95, 128), np.uint8), "bad_label"),
            (np.full((96, 128), 255, np.uint8), "bad_label"),
            (None, "bad_image"),
        ],
        ids=["turned", "too small", "grey levels", "text"],
    )
    def test_a_label_that_does_not_fit_replaces_nothing(
        self, served: Served, mask: Path, tmp_path: Path, label: Any, code: str
    ) -> None:
        assert save(served, "head06", mask).is_success
        before = files_around(served)
        wrong = tmp_path / "wrong.png"
        wrong.write_text("no picture")
        if label is not None:
            write_mask(wrong, label)
        assert error_of(save(served, "head06", wrong)) == (400, code)
        assert files_around(served) == before
        kept = served.http.get("/datastore/label", params={"label": "head06", "tag": "final"})
        assert kept.content == mask.read_bytes()

    def test_a_segment_of_unknown_name(self, served: Served, mask: Path) -> None:
        reply = save(served, "head05", mask, label_info=[{"name": "Segment_1", "idx": 1}])
        assert error_of(reply) == (400, "bad_label")

    def test_a_map_is_written_by_inference_alone(self, served: Served, mask: Path) -> None:
        assert error_of(save(served, "head05", mask, "epistemic")) == (400, "bad_request")

    def test_a_suffix_that_is_no_image(self, served: Served, tmp_path: Path) -> None:
        label = tmp_path / "label.exe"
        label.write_bytes(b"MZ")
        assert error_of(save(served, "head05", label)) == (400, "bad_request")


class TestParameters:
    @pytest.mark.parametrize("params", ["{", "[1]", "null", '"text"'])
    def test_params_that_are_no_object(self, served: Served, params: str) -> None:
        reply = served.http.post(
            "/infer/lfusion", params={"image": "head01"}, data={"params": params}
        )
        assert error_of(reply) == (400, "bad_request")

    @pytest.mark.parametrize("size", [0, [1], [1, -1], ["a", "b"], [1, 1e999]])
    def test_a_pixel_size_that_is_none(self, served: Served, size: Any) -> None:
        reply = served.http.post(
            "/infer/lfusion",
            params={"image": "head01"},
            data={"params": json.dumps({"pixel_size_mm": size})},
        )
        assert error_of(reply) == (400, "bad_request")

    @pytest.mark.parametrize("steps", [-1, 10**9, "many", True, 1.5])
    def test_steps_that_are_no_number_of_steps(
        self, served: Served, mask: Path, steps: Any
    ) -> None:
        assert save(served, "head06", mask).is_success
        reply = served.http.post("/train/lfusion", json={"steps": steps})
        assert error_of(reply) == (400, "bad_request")

    def test_a_missing_field(self, served: Served) -> None:
        assert error_of(served.http.put("/datastore/label?image=head01")) == (422, "bad_request")

    def test_other_web_pages_are_not_answered(self, served: Served) -> None:
        reply = served.http.get("/info/", headers={"origin": "http://example.org"})
        assert "access-control-allow-origin" not in reply.headers
