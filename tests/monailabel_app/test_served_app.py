"""What clients get from `lfusion serve`, asked over the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.image import read_mask
from lfusion.protocol import MAP_SUFFIX, InferResult, Queue

if TYPE_CHECKING:
    from tests.monailabel_app.conftest import Served

# MONAI Label's client leaves its sockets to the garbage collector.
real_client = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


def infer(served: Served, image: str, **params: Any) -> tuple[bytes, dict[str, Any]]:
    """The mask file's content and the scalars of one prediction."""
    fields = {"params": json.dumps(params)}
    query = {"image": image}
    mask = served.http.post("/infer/lfusion", params={**query, "output": "image"}, data=fields)
    scalars = served.http.post("/infer/lfusion", params={**query, "output": "json"}, data=fields)
    assert mask.is_success, mask.text
    return mask.content, scalars.json()


def nifti(
    content: bytes, folder: Path, suffix: str = ".nii.gz"
) -> tuple[NDArray[Any], NDArray[Any]]:
    """[height, width] and affine of one slice, read by a library that we do not write with."""
    file = folder / f"received{suffix}"
    file.write_bytes(content)
    volume: Any = nibabel.load(file)
    assert volume.shape[2:] == (1,)
    return np.array(volume.dataobj)[:, :, 0].T, volume.affine


def fetch_map(served: Served, image: str, tag: str, folder: Path) -> NDArray[Any]:
    reply = served.http.get("/datastore/label", params={"label": image, "tag": tag})
    assert reply.is_success, reply.text
    return nifti(reply.content, folder, MAP_SUFFIX)[0]


def error_of(reply: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of an error; anything but our JSON fails the test."""
    body = reply.json()
    assert set(body) == {"code", "message"}
    assert "Traceback" not in reply.text
    return reply.status_code, body["code"], body["message"]


class TestAnnotationLoop:
    @real_client
    def test_with_the_client_of_monai_label(
        self, served: Served, heads: Path, tmp_path: Path
    ) -> None:
        client = served.client(tmp_path)

        info = client.info()
        assert info["models"]["lfusion"]["type"] == "segmentation"
        assert info["labels"] == ["fetal head", "background"]
        assert {"epistemic", "random"} <= set(info["strategies"])
        assert "lfusion" in info["trainers"]

        first = client.next_sample("epistemic", {})
        assert Path(first["path"]).is_file()
        before = first["lfusion"]["checkpoint_id"]

        labelled = first["id"]
        mask_file, params = client.infer("lfusion", labelled, {})
        assert params["label_names"] == {"fetal head": 1}
        assert params["checkpoint_id"] == before
        assert read_mask(mask_file).shape == (96, 128)

        truth = heads / "masks" / f"{labelled}.png"
        truth = truth if truth.exists() else heads / "masks" / "head00.png"
        client.save_label(labelled, str(truth))
        saved = client.download_label(labelled, "final")
        np.testing.assert_array_equal(read_mask(saved), read_mask(truth))

        client.train_start("lfusion", {"steps": 2})
        until(lambda: client.train_status()["status"] not in ("SUBMITTED", "RUNNING"))
        assert client.train_status()["status"] == "DONE"
        trained = client.info()["train_stats"]["lfusion"]
        assert labelled in trained["progress"]["images"]
        assert (trained["epoch"], trained["total_epochs"]) == (
            trained["progress"]["step"],
            trained["progress"]["steps"],
        )

        def ranked_anew() -> bool:
            status = served.http.get("/scoring/").json()
            known = (status["status"], status["checkpoint_id"])
            return known == ("done", trained["progress"]["checkpoint_id"])

        until(ranked_anew)  # nobody asked for it
        after = client.next_sample("epistemic", {})
        assert after["lfusion"]["checkpoint_id"] == trained["progress"]["checkpoint_id"] != before
        assert after["id"] != labelled
        assert served.http.post("/model/rollback").json() == {"checkpoint_id": before}

    def test_the_first_open_image_of_the_queue_is_offered(self, served: Served) -> None:
        served.http.post("/scoring/epistemic", params={"run_sync": True})
        listed = served.http.get("/queue", params={"strategy": "epistemic"})
        queue = Queue.model_validate_json(listed.content)
        first = next(item for item in queue.items if item.state == "open")
        sample = served.http.post("/activelearning/epistemic", json={}).json()
        assert sample["id"] == first.id
        scores = [item.why.score for item in queue.items if item.state == "open" and item.why]
        assert sample["score"] == max(score for score in scores if score is not None)
        stored = sample["lfusion"]["scores"]
        assert stored["epistemic_per_sqrt_area"] == sample["score"]

    def test_without_a_strategy_the_queue_has_the_order_of_the_first(self, served: Served) -> None:
        queue = Queue.model_validate_json(served.http.get("/queue").content)
        assert queue.strategy == next(iter(served.http.get("/info/").json()["strategies"]))

    def test_a_seed_repeats_the_random_choice(self, served: Served) -> None:
        def draw(seed: int) -> Any:
            return served.http.post("/activelearning/random", json={"seed": seed}).json()["id"]

        assert draw(5) == draw(5)
        assert len({draw(seed) for seed in range(20)}) > 3


class TestPrediction:
    def test_the_mask_is_the_predictors_own(self, served: Served, tmp_path: Path) -> None:
        expected = served.model.predictor()(served.studies / "head01.png").mask
        content, _ = infer(served, "head01")
        (tmp_path / "mask.png").write_bytes(content)
        received = read_mask(tmp_path / "mask.png")
        np.testing.assert_array_equal(received, expected)
        for turned in (received[::-1], received[:, ::-1], received[::-1, ::-1]):
            assert (turned != expected).any()

    def test_a_flat_image_lies_where_slicer_puts_it(self, served: Served, tmp_path: Path) -> None:
        # 3D Slicer opens a PNG with ITK's identity, which is this affine in NIfTI's axes.
        expected = served.model.predictor()(served.studies / "head01.png").mask
        content, _ = infer(served, "head01", result_extension=".nii.gz")
        mask, affine = nifti(content, tmp_path)
        np.testing.assert_array_equal(affine, np.diag([-1, -1, 1, 1]))
        np.testing.assert_array_equal(mask, expected)

    def test_a_rotated_nifti_keeps_its_place(self, served: Served, tmp_path: Path) -> None:
        source: Any = nibabel.load(served.studies / "rotated.nii.gz")
        expected = served.model.predictor()(served.studies / "rotated.nii.gz").mask
        content, params = infer(served, "rotated", result_extension=".nii.gz")
        mask, affine = nifti(content, tmp_path)
        np.testing.assert_allclose(affine, source.affine, atol=1e-6)
        np.testing.assert_array_equal(mask, expected)
        assert params["pixel_size_mm"] == pytest.approx([0.25, 0.25])

    def test_maps_are_fetched_by_tag_and_sum_up(self, served: Served, tmp_path: Path) -> None:
        completed = served.http.get("/info/").json()["datastore"]["completed"]
        _, params = infer(served, "head02")
        epistemic, aleatoric, total = (
            fetch_map(served, "head02", params["maps"][name], tmp_path)
            for name in ("epistemic", "aleatoric", "total")
        )
        assert total.shape == (96, 128)
        assert total.dtype == np.float32
        assert min(epistemic.min(), aleatoric.min()) >= 0
        np.testing.assert_allclose(epistemic + aleatoric, total, atol=1e-5)
        assert served.http.get("/info/").json()["datastore"]["completed"] == completed

    def test_the_scalars_follow_the_schema(self, served: Served) -> None:
        result = InferResult.model_validate(infer(served, "head02")[1])
        assert result.scores["epistemic_mean"] > 0
        assert result.latencies.total >= result.latencies.predict > 0

    def test_a_given_pixel_size_scales_the_circumference(self, served: Served) -> None:
        def hc(size: float) -> Any:
            _, params = infer(served, "head02", pixel_size_mm=[size, size])
            return params["biometry"]["hc_mm"]

        assert hc(0.2) == pytest.approx(2 * hc(0.1))

    def test_a_lossy_suffix_is_not_used(self, served: Served) -> None:
        assert infer(served, "head01", result_extension=".jpg")[0].startswith(b"\x89PNG")

    def test_an_image_sent_along_is_predicted(self, served: Served) -> None:
        image = served.studies / "head04.png"
        reply = served.http.post(
            "/infer/lfusion",
            params={"output": "image"},
            files={"file": (image.name, image.read_bytes())},
        )
        assert reply.content == infer(served, "head04")[0]


class TestTroublesomeImages:
    def test_colour_is_read_as_grey(self, served: Served) -> None:
        assert infer(served, "colour")[0] == infer(served, "head00")[0]

    def test_black_has_finite_scores(self, served: Served) -> None:
        _, params = infer(served, "black")
        assert np.isfinite(list(params["scores"].values())).all()

    def test_text_named_png_is_refused(self, served: Served) -> None:
        reply = served.http.post("/infer/lfusion", params={"image": "notes"})
        status, code, message = error_of(reply)
        assert (status, code) == (400, "bad_image")
        assert "content is no PNG file" in message

    def test_scoring_goes_on_and_reports_it_by_name(self, served: Served) -> None:
        reply = served.http.post("/scoring/epistemic", params={"run_sync": True}).json()
        assert reply["status"] == "done"
        assert reply["done"] == reply["total"]
        assert list(reply["skipped"]) == ["notes"]
        assert served.http.get("/scoring/").json() == reply
