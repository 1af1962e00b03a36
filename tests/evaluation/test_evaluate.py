"""Evaluation of a real, tiny model on drawn heads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfusion.errors import DatasetError, ImageError
from lfusion.evaluation import (
    EvaluationReport,
    ForeignSet,
    ImageResult,
    evaluate,
    match_labels,
    predict_case,
    read_foreign,
)
from lfusion.evaluation.metrics import Reliability, hausdorff95, normalised_surface_dice
from lfusion.image import Dataset
from lfusion.predictor import Predictor, load


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def report(predictor: Predictor, heads: Path) -> EvaluationReport:
    return evaluate(predictor, Dataset.read(heads).split("test"))


@pytest.fixture
def copied(heads: Path, tmp_path: Path) -> Path:
    return shutil.copytree(heads, tmp_path / "copy")


def result(**changes: object) -> ImageResult:
    """A row with a head measured 2 mm too large."""
    row = ImageResult(
        id="a",
        group=None,
        dice=0.9,
        hd95_px=2.0,
        hd95_mm=None,
        nsd=0.8,
        nsd_mm=None,
        nll=0.1,
        brier=0.2,
        hc_mm=102.0,
        hc_reference_mm=100.0,
        hc_refusal=None,
        seconds=0.5,
        scores={},
    )
    return replace(row, **changes)  # type: ignore[arg-type]


PIXELS = Reliability.of(np.array([[[0.9]], [[0.1]]], np.float32), np.zeros((1, 1), np.uint8))
"""One pixel of confidence 0.9, predicted rightly: a calibration error of 0.1."""


def of(*images: ImageResult, foreign: tuple[ForeignSet, ...] = ()) -> EvaluationReport:
    return EvaluationReport(
        images,
        reliability=Reliability.stack([PIXELS] * len(images)),
        unlabelled=0,
        labels={"head": 1},
        checkpoint_id="x",
        foreign=foreign,
    )


class TestSummary:
    def test_by_hand(self) -> None:
        images = (result(), result(id="b", dice=0.7, hd95_px=4.0, hc_mm=97.0, seconds=1.5))
        figures = of(*images).summary()
        assert figures["n"] == 2
        assert figures["dice_mean"] == pytest.approx(0.8)
        assert figures["dice_p05"] == pytest.approx(0.71)  # 0.7 + 0.05 * 0.2
        assert figures["hd95_px"] == pytest.approx(3.0)
        assert figures["hc_mae_mm"] == pytest.approx(2.5)  # |2|, |-3|
        assert figures["hc_bias_mm"] == pytest.approx(-0.5)
        assert figures["seconds_per_image"] == pytest.approx(1.0)
        assert figures["ece"] == pytest.approx(0.1)
        assert figures["ace"] == pytest.approx(0.1)

    def test_figures_in_mm_are_of_the_images_with_a_pixel_size(self) -> None:
        figures = of(result(hd95_mm=3.0, nsd_mm=0.5), result(id="b")).summary()
        assert (figures["hd95_mm"], figures["nsd_mm"]) == (3.0, 0.5)
        assert of(result()).summary()["hd95_mm"] is None

    def test_refused_heads_are_counted_apart_from_the_error(self) -> None:
        figures = of(result(), result(id="b", hc_mm=None, hc_refusal="no head found")).summary()
        assert figures["hc_mae_mm"] == pytest.approx(2.0)
        assert (figures["hc_n"], figures["hc_refused"]) == (1, 1)

    def test_coverage_is_over_the_heads_with_an_interval(self) -> None:
        held = result(hc_interval_mm=(99.0, 105.0), interval_level=0.9)
        missed = result(id="b", hc_interval_mm=(101.0, 103.0), interval_level=0.9)
        figures = of(held, missed, result(id="c")).summary()
        assert figures["hc_coverage"] == pytest.approx(0.5)
        assert figures["hc_interval_width_mm"] == pytest.approx(4)
        assert figures["hc_interval_level"] == 0.9
        assert of(result()).summary()["hc_coverage"] is None

    def test_angles_are_compared_where_both_outlines_have_one(self) -> None:
        wide, narrow = ({"aop_deg": value, "aop_reference_deg": 100.0} for value in (104.0, 98.0))
        refused = result(id="c", aop_deg=None, aop_reference_deg=90.0)
        figures = of(result(**wide), result(id="b", **narrow), refused).summary()
        assert figures["aop_mae_deg"] == pytest.approx(3)  # |4|, |-2|
        assert figures["aop_bias_deg"] == pytest.approx(1)
        assert figures["aop_n"] == 2
        assert of(result()).summary()["aop_mae_deg"] is None

    def test_without_references_there_is_no_hc_error_and_no_refusal(self) -> None:
        figures = of(result(hc_reference_mm=None), result(hc_reference_mm=None, hc_mm=None))
        assert figures.summary()["hc_mae_mm"] is None
        assert figures.summary()["hc_refused"] == 0


class TestEvaluate:
    def test_a_model_that_learnt_the_drawings_scores_well(self, report: EvaluationReport) -> None:
        figures = report.summary()
        assert figures["n"] == 3
        assert figures["dice_mean"] is not None
        assert figures["dice_mean"] > 0.9
        assert 0 <= report.ece < 0.2

    def test_rows_carry_the_measured_head_and_every_score(self, report: EvaluationReport) -> None:
        for row in report.images:
            assert row.hc_reference_mm is not None
            assert (row.hc_mm is None) == (row.hc_refusal is not None)
            assert row.scores["total_mean"] == pytest.approx(
                row.scores["epistemic_mean"] + row.scores["aleatoric_mean"], abs=1e-5
            )

    def test_boundaries_are_measured_in_pixels_and_in_mm(
        self, predictor: Predictor, report: EvaluationReport, heads: Path
    ) -> None:
        case = Dataset.read(heads).split("test").cases[0]
        masks = predictor(case.image_path).mask == 1, case.read_mask() == 1
        row = report.images[0]
        assert row.hd95_px == hausdorff95(*masks)
        assert row.nsd == normalised_surface_dice(*masks, 2.0)
        assert row.hd95_mm == pytest.approx(hausdorff95(*masks, (0.5, 0.5)))
        assert row.nsd_mm == normalised_surface_dice(*masks, 1.0, (0.5, 0.5))

    def test_is_json_with_the_fixed_keys(self, report: EvaluationReport) -> None:
        content = json.loads(json.dumps(report.as_dict(), allow_nan=False))
        fixed = {"dice_mean", "dice_p05", "hd95_px", "nsd", "hc_mae_mm", "hc_refused", "ece", "n"}
        assert fixed | {"seconds_per_image"} <= set(content)
        assert [row["id"] for row in content["images"]] == ["head10", "head11", "head12"]

    def test_tells_its_progress(self, predictor: Predictor, heads: Path) -> None:
        seen: list[tuple[int, int]] = []
        dataset = Dataset.read(heads).split("val")
        evaluate(predictor, dataset, lambda done, total: seen.append((done, total)))
        assert seen == [(1, 2), (2, 2)]

    def test_an_exception_of_the_progress_stops_it(self, predictor: Predictor, heads: Path) -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(predictor, Dataset.read(heads).split("val"), stop)

    def test_foreign_images_are_scored_as_the_predictor_scores_them(
        self, predictor: Predictor, heads: Path
    ) -> None:
        data = Dataset.read(heads)
        seen: list[tuple[int, int]] = []
        report = evaluate(
            predictor,
            data.split("val"),
            lambda done, total: seen.append((done, total)),
            foreign={"elsewhere": data.split("test")},
        )
        assert seen[-1] == (5, 5)
        (part,) = report.foreign
        assert part.name == "elsewhere"
        assert [image.id for image in part.images] == ["head10", "head11", "head12"]
        path = data.split("test").cases[0].image_path
        assert part.images[0].scores == dict(predictor(path).scores)

    def test_a_foreign_set_without_images_is_refused(
        self, predictor: Predictor, heads: Path
    ) -> None:
        data = Dataset.read(heads).split("val")
        with pytest.raises(DatasetError, match="distribution in empty, got none"):
            evaluate(predictor, data, foreign={"empty": Dataset(())})

    def test_images_without_mask_are_counted(self, predictor: Predictor, copied: Path) -> None:
        (copied / "masks" / "head10.png").unlink()
        report = evaluate(predictor, Dataset.read(copied).split("test"))
        assert (report.unlabelled, len(report.images)) == (1, 2)

    def test_no_mask_at_all_is_refused(self, predictor: Predictor, copied: Path) -> None:
        shutil.rmtree(copied / "masks")
        with pytest.raises(DatasetError, match="3 images without"):
            evaluate(predictor, Dataset.read(copied).split("test"))

    def test_unreadable_image_is_named(self, predictor: Predictor, copied: Path) -> None:
        (copied / "images" / "head11.png").write_text("no picture")
        with pytest.raises(ImageError, match="head11"):
            evaluate(predictor, Dataset.read(copied).split("test"))

    def test_class_without_a_name_is_refused(self, predictor: Predictor, copied: Path) -> None:
        Image.fromarray(np.full((96, 128), 3, np.uint8)).save(copied / "masks" / "head12.png")
        with pytest.raises(DatasetError, match=r"head12.*found the values 3; "):
            evaluate(predictor, Dataset.read(copied).split("test"))

    def test_hc_that_is_no_number_is_refused(self, predictor: Predictor, copied: Path) -> None:
        meta = copied / "meta.csv"
        lines = meta.read_text().splitlines()
        meta.write_text("\n".join([*lines[:-1], "head12,test,0.5,large"]) + "\n")
        with pytest.raises(DatasetError, match=r"head12.*'large'"):
            evaluate(predictor, Dataset.read(copied).split("test"))


def test_predict_case_is_the_predictor_on_the_case(predictor: Predictor, heads: Path) -> None:
    case = Dataset.read(heads).cases[0]
    prediction, seconds = predict_case(predictor, case)
    assert np.array_equal(prediction.mask, predictor(case.image_path).mask)
    assert prediction.pixel_size_mm == (0.5, 0.5)
    assert seconds > 0


class TestLabels:
    def test_names_decide(self) -> None:
        assert match_labels({"head": 1, "bone": 2}, {"bone": 1, "head": 2}) == {0: 0, 1: 2, 2: 1}

    def test_numbers_decide_where_names_are_missing(self) -> None:
        found = match_labels({"head": 1, "bone": 2}, {"class 1": 1, "class 2": 2})
        assert found == {0: 0, 1: 1, 2: 2}

    @pytest.mark.parametrize(
        "reference",
        [{}, {"class 1": 1, "class 2": 2}, {"bone": 1, "head": 2, "cavum": 3}],
        ids=["none", "more numbers", "more names"],
    )
    def test_other_structures_are_refused(self, reference: dict[str, int]) -> None:
        with pytest.raises(DatasetError, match=r"labels\.json"):
            match_labels({"head": 1}, reference)

    def test_a_shared_name_with_another_number_is_no_match_by_number(self) -> None:
        with pytest.raises(DatasetError):
            match_labels({"head": 1, "bone": 2}, {"head": 2, "cavum": 1})


class TestForeign:
    def test_takes_the_split_of_a_dataset_folder(self, heads: Path) -> None:
        found = read_foreign([heads], "test")
        assert [case.id for case in found[heads.name]] == ["head10", "head11", "head12"]

    def test_takes_all_images_of_a_folder_without_that_split(self, heads: Path) -> None:
        assert len(read_foreign([heads], "holdout")[heads.name]) == 13

    def test_takes_a_plain_folder_of_images(self, heads: Path) -> None:
        found = read_foreign([heads / "images"], "test")
        assert len(found["images"]) == 13
        assert found["images"].cases[0].mask_path is None

    def test_two_folders_of_one_name_are_refused(self, heads: Path, tmp_path: Path) -> None:
        other = shutil.copytree(heads / "images", tmp_path / "images")
        with pytest.raises(DatasetError, match="images twice"):
            read_foreign([heads / "images", other], "test")

    def test_a_folder_without_images_is_refused(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(DatasetError, match="expected a folder of images"):
                read_foreign([folder], "test")
