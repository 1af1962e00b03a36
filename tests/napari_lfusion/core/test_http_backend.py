"""The backend against real servers: `lfusion serve`, and MONAI Label's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lfusion
from lfusion.protocol import INFO_KEY, Alternative, AlternativeResult, Capabilities, Clicks
from napari_lfusion.core.case import BackendInfo, Correction, Offer
from napari_lfusion.core.correction import make_correction
from napari_lfusion.core.errors import (
    BadAnswerError,
    NotOfferedError,
    RefusedError,
    UnknownIdError,
)
from napari_lfusion.core.http import Account, HttpBackend
from napari_lfusion.core.loading import open_case

if TYPE_CHECKING:
    from tests.napari_lfusion.core.conftest import Scripted


@pytest.fixture
def backend(ours: str) -> Iterator[HttpBackend]:
    """At our server."""
    backend = HttpBackend(Account(ours, "ada"))
    yield backend
    backend.close()


@pytest.fixture
def less(plain: str) -> Iterator[HttpBackend]:
    """At a plain server."""
    backend = HttpBackend(Account(plain, "ada"))
    yield backend
    backend.close()


@pytest.fixture
def told(account: Account) -> Iterator[HttpBackend]:
    """At the scripted server."""
    backend = HttpBackend(account)
    yield backend
    backend.close()


class TestOurs:
    def test_it_says_what_it_offers(self, backend: HttpBackend) -> None:
        info = backend.info()
        assert info.labels == {"fetal head": 1}
        assert {"epistemic", "random"} <= set(info.strategies)
        assert info.capabilities is not None
        assert info.trainable
        assert not any("maps" in sentence for sentence in info.missing)

    def test_a_case_opens_with_what_the_model_says(
        self, backend: HttpBackend, heads: Path, tiny_checkpoint: Path
    ) -> None:
        expected = lfusion.load(tiny_checkpoint, "cpu")(heads / "images" / "head03.png")
        case = open_case(backend, Offer("head03"))
        assert case.image.pixels.shape == (96, 128)
        # Exactly there, not turned or mirrored.
        np.testing.assert_array_equal(case.proposal.mask, expected.mask)
        assert set(case.proposal.maps) == {"epistemic", "aleatoric", "total"}
        for name, values in case.proposal.maps.items():
            np.testing.assert_allclose(values, getattr(expected, name), atol=1e-5)
        assert case.proposal.result is not None
        assert case.proposal.checkpoint_id == expected.checkpoint_id

    def test_next_correct_submit_next(self, backend: HttpBackend) -> None:
        offer = backend.next_case("epistemic")
        assert offer is not None
        case = open_case(backend, offer)
        mask = case.start.copy()
        mask[:4, :4] = 1
        saved = backend.submit(make_correction(case, mask, backend.info().labels))
        assert saved.image_id == offer.image_id
        kept = backend.label(offer.image_id)
        assert kept is not None
        np.testing.assert_array_equal(kept, mask)
        following = backend.next_case("epistemic")
        assert following is not None
        assert following.image_id != offer.image_id

    def test_an_image_without_a_label_has_none(self, backend: HttpBackend) -> None:
        assert backend.label("head12") is None

    def test_the_mask_follows_a_click(self, backend: HttpBackend) -> None:
        proposal = backend.propose("head06")
        rows, columns = np.nonzero(proposal.mask == 0)
        centre = np.argwhere(proposal.mask == 1).mean(axis=0)
        nearest = int(np.hypot(rows - centre[0], columns - centre[1]).argmin())
        row, column = int(rows[nearest]), int(columns[nearest])
        followed = backend.follow("head06", Clicks(foreground=[[column, row]]))
        assert followed.mask[row, column] == 1
        assert followed.mask.shape == proposal.mask.shape
        assert followed.maps == {}
        assert followed.checkpoint_id == proposal.checkpoint_id

    def test_a_cine_is_corrected_by_its_middle_frame(
        self, backend: HttpBackend, heads: Path, tiny_checkpoint: Path
    ) -> None:
        middle = heads / "images" / "head02.png"
        expected = lfusion.load(tiny_checkpoint, "cpu")(middle, pixel_size_mm=(0.2, 0.1))
        case = open_case(backend, Offer("cine"))
        assert case.image.pixel_size_mm == pytest.approx((0.2, 0.1))
        np.testing.assert_array_equal(case.proposal.mask, expected.mask)
        np.testing.assert_allclose(case.proposal.maps["epistemic"], expected.epistemic, atol=1e-5)
        row, column = (int(part) for part in np.argwhere(expected.mask == 1)[0])
        outside = Clicks(background=[[column, row]])
        assert backend.follow("cine", outside).mask[row, column] == 0
        assert backend.alternative("cine", Alternative(mode=0, t=2.0)).mask.ndim == 2
        backend.submit(make_correction(case, case.start, backend.info().labels))
        kept = backend.label("cine")
        assert kept is not None
        np.testing.assert_array_equal(kept, case.start)

    def test_a_mode_can_be_walked_along(self, backend: HttpBackend) -> None:
        there, back = (backend.alternative("head06", Alternative(mode=0, t=t)) for t in (2.0, -2.0))
        assert there.mask.sum() > back.mask.sum()
        assert isinstance(there.result, AlternativeResult)
        assert there.result.tail_probability == pytest.approx(0.0455, abs=1e-4)
        assert there.result.variance_shares

    def test_the_pool_is_scored(self, backend: HttpBackend) -> None:
        assert backend.score().status in ("running", "done")
        assert backend.scoring().error is None

    def test_unknown_names(self, backend: HttpBackend) -> None:
        with pytest.raises(UnknownIdError, match="no such image"):
            backend.propose("no such image")
        with pytest.raises(UnknownIdError):
            backend.next_case("no such strategy")

    def test_a_label_of_another_size_is_refused(
        self, backend: HttpBackend, correction: Correction
    ) -> None:
        wrong = Correction("head05", correction.file_name, correction.content, "key")
        with pytest.raises(RefusedError, match="96 x 128"):
            backend.submit(wrong)
        assert backend.label("head05") is None


class TestPlain:
    def test_it_says_what_is_missing(self, less: HttpBackend) -> None:
        info = less.info()
        assert info.capabilities is None
        assert info.labels == {"fetal head": 1}
        assert any("no leases" in sentence for sentence in info.missing)

    def test_the_loop_goes_on_with_less(self, less: HttpBackend) -> None:
        offer = less.next_case("epistemic")
        assert offer is not None
        assert offer.lease is None
        case = open_case(less, offer)
        assert case.proposal.mask.any()
        saved = less.submit(make_correction(case, case.start, less.info().labels))
        assert (saved.version, saved.conflict_with) == (None, None)
        less.release(offer.image_id)
        assert less.take("head04") == Offer("head04")
        assert less.training().status == "idle"

    def test_what_is_missing_is_not_even_asked(self, less: HttpBackend) -> None:
        less.info()
        for ask in (
            lambda: less.queue("epistemic", 5),
            lambda: less.thumbnail("head04", 32),
            lambda: less.renew("head04"),
            lambda: less.skip("head04", "blurred"),
            lambda: less.versions("head04"),
            lambda: less.follow("head04", Clicks()),
            lambda: less.alternative("head04", Alternative()),
        ):
            with pytest.raises(NotOfferedError, match="plain MONAI Label"):
                ask()


def about(**changes: object) -> str:
    """The answer of `/info/` of some server."""
    info: dict[str, object] = {
        "models": {"other": {"type": "segmentation", "labels": {"background": 0, "b": 2, "a": 1}}},
        "strategies": {"first": {}, "second": {}},
        "trainers": {"other": {}},
    }
    return json.dumps({**info, **changes})


class TestInfo:
    def ask(self, scripted: Scripted, told: HttpBackend, **changes: object) -> BackendInfo:
        scripted.answer(about(**changes))
        return told.info()

    def test_labels_by_number(self, scripted: Scripted, told: HttpBackend) -> None:
        info = self.ask(scripted, told)
        assert list(info.labels.items()) == [("a", 1), ("b", 2)]
        assert info.strategies == ("first", "second")
        assert info.trainable

    def test_labels_as_a_list(self, scripted: Scripted, told: HttpBackend) -> None:
        models = {"other": {"type": "segmentation"}}
        info = self.ask(scripted, told, models=models, labels=["background", "x", "y"])
        assert info.labels == {"x": 1, "y": 2}

    def test_nothing_to_train(self, scripted: Scripted, told: HttpBackend) -> None:
        assert not self.ask(scripted, told, trainers={}).trainable

    def test_annotators_do_not_train(self, scripted: Scripted, told: HttpBackend) -> None:
        capabilities = Capabilities(
            version="1",
            checkpoint_id="x",
            lease_seconds=60,
            strategies=("epistemic",),
            role="annotator",
        )
        info = self.ask(scripted, told, **{INFO_KEY: capabilities.model_dump(mode="json")})
        assert not info.trainable
        assert info.strategies == ("epistemic",)
        assert "no training for annotators" in info.missing

    @pytest.mark.parametrize(
        "changes",
        [{"models": None}, {"models": {}}, {"models": {"d": {"type": "detection"}}}, {INFO_KEY: 1}],
    )
    def test_another_kind_of_server(
        self, scripted: Scripted, told: HttpBackend, changes: dict[str, object]
    ) -> None:
        with pytest.raises(BadAnswerError, match="expected a"):
            self.ask(scripted, told, **changes)


class TestDamagedAnswers:
    def ask(self, scripted: Scripted, told: HttpBackend, body: bytes, kind: str) -> None:
        scripted.answer(about())
        scripted.answer(body, content_type=kind)
        with pytest.raises(BadAnswerError):
            told.propose("a")

    def test_no_parts(self, scripted: Scripted, told: HttpBackend) -> None:
        self.ask(scripted, told, b"{}", "application/json")

    def test_a_mask_that_is_none(self, scripted: Scripted, told: HttpBackend) -> None:
        body = (
            b'--x\r\ncontent-disposition: form-data; name="params"\r\n\r\n{}\r\n'
            b'--x\r\ncontent-disposition: form-data; name="image"; filename="../m.nrrd"\r\n\r\n'
            b"NRRD0004\r\n--x--\r\n"
        )
        self.ask(scripted, told, body, "multipart/form-data; boundary=x")

    def test_an_image_without_a_name(self, scripted: Scripted, told: HttpBackend) -> None:
        scripted.answer(b"\x89PNG")
        with pytest.raises(BadAnswerError, match="name"):
            told.image("a")
