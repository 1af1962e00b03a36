"""Clicks, other masks and bands over the wire: what is answered, refused and remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from lfusion.image import read_image, read_mask
from lfusion.interaction import bands, boundary_thresholds, possibilities, sample
from lfusion.protocol import AlternativeResult, InferResult
from monailabel_app.lib.infer.remembered import RememberedPossibilities

if TYPE_CHECKING:
    from tests.monailabel_app.conftest import Served


def ask(served: Served, model: str, output: str = "json", **params: Any) -> httpx.Response:
    image = params.pop("image", "flat")
    return served.http.post(
        f"/infer/{model}",
        params={"image": image, "output": output},
        data={"params": json.dumps(params)},
    )


def mask_of(reply: httpx.Response, folder: Path) -> np.ndarray[Any, Any]:
    file = folder / "mask.png"
    file.write_bytes(reply.raise_for_status().content)
    return read_mask(file)


class TestClicks:
    def test_the_answer_follows_the_schema_and_measures_the_corrected_head(
        self, clinic: Served
    ) -> None:
        plain = InferResult.model_validate(ask(clinic, "lfusion_interactive").json())
        background = [[x, 48] for x in range(0, 64, 2)]
        reply = ask(clinic, "lfusion_interactive", background=background)
        moved = InferResult.model_validate(reply.json())
        assert plain.biometry is not None
        assert moved.biometry is not None
        assert plain.biometry["hc_px"] != moved.biometry["hc_px"]
        assert moved.label_names == {"fetal head": 1}

    def test_all_ways_to_name_a_list_are_one(self, clinic: Served, tmp_path: Path) -> None:
        point = [[100, 20, 0]]
        ways: list[dict[str, Any]] = [
            {"foreground": point},
            {"foreground": point, "label": "fetal head"},
            {"foreground": point, "label": "Segment_1"},
            {"fetal head": point},
            {"labels": {"fetal head": point}},
            {"labels": {"fetal head": [[100.2, 19.9]]}},
        ]
        masks = [
            mask_of(ask(clinic, "lfusion_interactive", "image", **way), tmp_path) for way in ways
        ]
        for mask in masks:
            np.testing.assert_array_equal(mask, masks[0])
        assert masks[0][20, 100] == 1

    @pytest.mark.parametrize(
        "params",
        [
            {"foreground": [[128, 0]]},
            {"foreground": [[0, -1]]},
            {"foreground": [[1]]},
            {"foreground": [[1, 2, 3, 4]]},
            {"foreground": [["a", "b"]]},
            {"foreground": "many"},
            {"fetal head": 5},
            {"fetal head": [5]},
            {"fetal head": [[None, 1]]},
            {"labels": {"lesion": [[1, 1]]}},
            {"frame": -1},
            {"frame": 1},
            {"frame": "first"},
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, clinic: Served, params: dict[str, Any]) -> None:
        reply = ask(clinic, "lfusion_interactive", **params)
        assert reply.status_code == 400, reply.text
        assert set(reply.json()) == {"code", "message"}

    def test_infinity_is_no_place(self, clinic: Served) -> None:
        query = {"image": "flat", "output": "json"}
        fields = {"params": '{"foreground": [[Infinity, 1]]}'}
        reply = clinic.http.post("/infer/lfusion_interactive", params=query, data=fields)
        assert reply.status_code == 400


class TestAlternatives:
    def test_a_step_says_how_far_it_is(self, clinic: Served) -> None:
        reply = ask(clinic, "lfusion_counterfactual", kind="mode", mode=0, t=1.0)
        result = AlternativeResult.model_validate(reply.json())
        assert result.density_ratio == pytest.approx(np.exp(-0.5))
        assert result.tail_probability == pytest.approx(0.3173, abs=1e-4)
        assert result.variance_shares == sorted(result.variance_shares, reverse=True)
        assert 0 < sum(result.variance_shares) <= 1 + 1e-6

    def test_a_sample_is_the_local_one(self, clinic: Served, tmp_path: Path) -> None:
        reply = ask(clinic, "lfusion_counterfactual", "image", kind="sample", seed=3)
        image = read_image(clinic.studies / "flat.png")
        expected = sample(possibilities(clinic.model.predictor(), image), 3).mask
        np.testing.assert_array_equal(mask_of(reply, tmp_path), expected)

    @pytest.mark.parametrize(
        "params",
        [{"mode": 99}, {"mode": -1}, {"t": 7.0}, {"kind": "dream"}, {"kind": "sample", "seed": -1}],
    )
    def test_what_cannot_be_meant_is_refused(self, clinic: Served, params: dict[str, Any]) -> None:
        reply = ask(clinic, "lfusion_counterfactual", **params)
        assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")


class TestBands:
    @pytest.mark.parametrize("term", ["epistemic", "aleatoric"])
    def test_bands_are_cut_from_the_map(self, clinic: Served, tmp_path: Path, term: str) -> None:
        reply = ask(clinic, "lfusion_uncertainty", "image", term=term)
        predictor = clinic.model.predictor()
        prediction = predictor(clinic.studies / "flat.png")
        values = getattr(prediction, term)
        usual = predictor.checkpoint.calibration.bands.get(term)
        expected = bands(values, usual or boundary_thresholds(values, prediction.mask))
        np.testing.assert_array_equal(mask_of(reply, tmp_path), expected)

    def test_another_term_is_refused(self, clinic: Served) -> None:
        assert ask(clinic, "lfusion_uncertainty", term="total").status_code == 400


class TestCine:
    def test_one_frame_alone(self, clinic: Served, tmp_path: Path) -> None:
        for model in ("lfusion", "lfusion_interactive"):
            reply = ask(clinic, model, "image", image="cine", frame=2, result_extension=".nii.gz")
            (tmp_path / "mask.nii.gz").write_bytes(reply.raise_for_status().content)
            mask = read_mask(tmp_path / "mask.nii.gz")
            frame = read_image(clinic.studies / "cine.dcm", 2)
            expected = clinic.model.predictor()(frame).mask
            assert (mask != expected).mean() < 0.01
        np.testing.assert_allclose(
            ask(clinic, "lfusion", image="cine").json()["scores"]["epistemic_mean"],
            ask(clinic, "lfusion", image="cine", frame=1).json()["scores"]["epistemic_mean"],
        )


def test_the_network_runs_once_for_an_image(clinic: Served) -> None:
    predictor = clinic.model.predictor()
    image, other = (read_image(clinic.studies / name) for name in ("flat.png", "unlabelled.png"))
    remembered = RememberedPossibilities()
    first = remembered.of(predictor, image)
    assert remembered.of(predictor, read_image(clinic.studies / "still.dcm")) is first
    assert remembered.of(predictor, other) is not first
    small = RememberedPossibilities(capacity_bytes=1)
    kept = small.of(predictor, image)
    assert small.of(predictor, image) is kept
    small.of(predictor, other)
    assert small.of(predictor, image) is not kept
