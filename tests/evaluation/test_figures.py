"""The figures over all images, from rows made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lfusion.evaluation import EvaluationReport, Figures, ForeignSet, ImageResult, ScoredImage
from lfusion.evaluation.metrics import Reliability


def row(number: int, dice: float, score: float, hc_mm: float | None = None) -> ImageResult:
    """An image of the examination `number // 2` whose head is 100 mm around."""
    return ImageResult(
        id=f"image{number}",
        group=f"exam{number // 2}",
        scores={"doubt": score, "constant": 1.0},
        dice=dice,
        hd95_px=2.0,
        hd95_mm=None,
        nsd=0.8,
        nsd_mm=None,
        nll=0.1,
        brier=0.2,
        hc_mm=hc_mm,
        hc_reference_mm=100.0,
        hc_refusal=None,
        seconds=0.5,
    )


def of(*images: ImageResult, foreign: tuple[ForeignSet, ...] = ()) -> EvaluationReport:
    one = Reliability.of(np.array([[[0.9]], [[0.1]]], np.float32), np.zeros((1, 1), np.uint8))
    return EvaluationReport(
        images,
        reliability=Reliability.stack([one] * len(images)),
        unlabelled=0,
        labels={"head": 1},
        checkpoint_id="x",
        foreign=foreign,
    )


DICES = [0.9, 0.8, 0.95, 0.7, 0.92, 0.85]
ROWS = [row(n, dice, score=1 - dice) for n, dice in enumerate(DICES)]


class TestFailure:
    def test_a_perfect_score(self) -> None:
        found = Figures.of(of(*ROWS)).failure["doubt"]
        assert found.spearman.value == pytest.approx(-1)
        assert found.auroc_worst.value == 1.0
        assert found.e_aurc.value == pytest.approx(0)
        assert found.e_aurc.interval == pytest.approx((0, 0))

    def test_a_score_that_says_nothing(self) -> None:
        found = Figures.of(of(*ROWS)).failure["constant"]
        assert found.spearman.value is None
        assert found.auroc_worst.value == 0.5
        assert found.aurc.value == pytest.approx(1 - np.mean(DICES))


class TestOod:
    FOREIGN = ForeignSet(
        "breast",
        tuple(
            ScoredImage(str(i), None, {"doubt": s, "constant": 1.0})
            for i, s in enumerate([0.25, 2])
        ),
    )

    def test_by_hand(self) -> None:
        # In: .1 .2 .05 .3 .08 .15; out: .25 and 2. One pair of twelve is the wrong way round.
        found = Figures.of(of(*ROWS, foreign=(self.FOREIGN,))).ood["breast"]
        assert found["doubt"].auroc.value == pytest.approx(11 / 12)
        assert found["doubt"].fpr95.value == pytest.approx(1 / 6)
        assert found["constant"].fpr95.value == 1.0

    def test_a_score_that_some_images_lack_is_left_out(self) -> None:
        lone = ForeignSet("breast", (ScoredImage("a", None, {"doubt": 1.0, "more": 2.0}),))
        assert list(Figures.of(of(*ROWS, foreign=(lone,))).ood["breast"]) == ["doubt"]


class TestOverall:
    def test_values_are_those_of_the_summary(self) -> None:
        report = of(*ROWS)
        summary = report.summary()
        found = Figures.of(report).overall
        assert {name: figure.value for name, figure in found.items()} == {
            name: summary[name] for name in found
        }

    def test_intervals_hold_their_value_and_come_from_the_seed(self) -> None:
        first, again, other = (Figures.of(of(*ROWS), 9, seed) for seed in (0, 0, 1))
        estimate = first.overall["dice_mean"]
        assert estimate.interval is not None
        assert estimate.interval[0] < float(np.mean(DICES)) < estimate.interval[1]
        assert again.overall["dice_mean"] == estimate != other.overall["dice_mean"]

    def test_counts_examinations(self) -> None:
        assert Figures.of(of(*ROWS)).exams == 3

    def test_agreement_is_over_the_measured_heads(self) -> None:
        found = Figures.of(of(row(0, 0.9, 0.1, 101.0), row(1, 0.9, 0.1, 103.0), row(2, 0.9, 0.1)))
        assert found.hc_agreement is not None
        assert found.hc_agreement.bias == pytest.approx(2)


def test_is_json_with_the_documented_keys() -> None:
    figures = Figures.of(of(*ROWS, foreign=(TestOod.FOREIGN,)))
    content = json.loads(json.dumps(figures.as_dict(), allow_nan=False))
    assert set(content) >= {"intervals", "interval_level", "exams", "failure", "ood", "reliability"}
    assert set(content["failure"]["doubt"]) == {"spearman", "auroc_worst", "aurc", "e_aurc"}
    assert set(content["ood"]["breast"]["doubt"]["auroc"]) == {"value", "low", "high"}
    assert content["intervals"]["hd95_mm"] is None
    (used,) = [entry for entry in content["reliability"] if entry["pixels"]]
    assert used == {"pixels": 6, "confidence": pytest.approx(0.9), "accuracy": 1.0}
