"""From an offer to an open case, to a measurement, and to what is sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lfusion.image import Geometry, UltrasoundImage, as_ultrasound_image
from lfusion.protocol import Lease, Queue, QueueItem
from lfusion.types import LabelMap
from napari_lfusion.core.case import Offer, OpenCase, Proposal
from napari_lfusion.core.correction import make_correction, read_correction
from napari_lfusion.core.errors import BadAnswerError, RefusedError
from napari_lfusion.core.leases import HeldLease
from napari_lfusion.core.loading import Prefetched, fetch, likely_next, open_case
from napari_lfusion.core.measure import compare, measure
from napari_lfusion.core.place import coincide
from napari_lfusion.demo import DemoBackend

LABELS = {"fetal head": 1}
TURNED = Geometry((0.25, 0.5, 1.0), (1, 2, 3), (0, -1, 0, 1, 0, 0, 0, 0, 1), physical=True)


def ellipse(semi_rows: float, semi_columns: float) -> LabelMap:
    rows, columns = np.mgrid[:200, :240]
    radius = np.hypot((rows - 100) / semi_rows, (columns - 120) / semi_columns)
    mask: LabelMap = (radius <= 1).astype(np.uint8)
    return mask


class Elsewhere(DemoBackend):
    """A backend whose answers are off in one way.

    Args:
        change: What to change in each proposal.
    """

    def __init__(self, **change: object) -> None:
        super().__init__()
        self._change = change

    def propose(self, image_id: str) -> Proposal:
        return replace(super().propose(image_id), **self._change)  # type: ignore[arg-type]


class TestLoading:
    def test_a_case_holds_image_proposal_and_pixel_size(self) -> None:
        backend = DemoBackend()
        offer = backend.take("phantom_0013")
        case = open_case(backend, offer)
        assert case.offer is offer
        assert case.image.pixels.shape == case.proposal.mask.shape == (384, 512)
        assert case.image.pixel_size_mm == pytest.approx((0.222767286, 0.222767286))
        assert case.start is case.proposal.mask

    def test_a_saved_label_is_where_to_go_on(self) -> None:
        backend = DemoBackend()
        first = open_case(backend, backend.take("phantom_0013"))
        mask = np.zeros_like(first.start)
        mask[100:200, 100:200] = 1
        backend.submit(make_correction(first, mask, LABELS))
        again = open_case(backend, backend.take("phantom_0013"))
        assert again.offer.base_version == 1
        np.testing.assert_array_equal(again.start, mask)

    def test_what_was_fetched_ahead_is_used(self) -> None:
        backend = DemoBackend()
        ahead = fetch(backend, "phantom_0013")
        assert open_case(backend, backend.take("phantom_0013"), ahead).image is ahead.image

    def test_unless_it_is_another_image_or_model(self) -> None:
        backend = DemoBackend()
        ahead = fetch(backend, "phantom_0013")
        assert open_case(backend, backend.take("phantom_0004"), ahead).image is not ahead.image
        newer = open_case(backend, backend.take("phantom_0013"), ahead, checkpoint_id="newer")
        assert newer.image is not ahead.image

    def test_a_mask_of_another_size_is_refused(self) -> None:
        with pytest.raises(BadAnswerError, match=r"mask of 'phantom_0013'.*\[512, 384\]"):
            fetch(Elsewhere(mask=np.zeros((512, 384), np.uint8)), "phantom_0013")

    def test_a_map_of_another_size_is_refused(self) -> None:
        with pytest.raises(BadAnswerError, match="epistemic"):
            fetch(Elsewhere(maps={"epistemic": np.zeros((2, 2), np.float32)}), "phantom_0013")

    def test_a_mask_that_lies_elsewhere_is_refused(self) -> None:
        class Volumes(Elsewhere):
            def image(self, image_id: str) -> UltrasoundImage:
                return replace(super().image(image_id), geometry=TURNED)

        assert isinstance(fetch(Volumes(geometry=TURNED), "phantom_0013"), Prefetched)
        flipped = replace(TURNED, direction=(0, 1, 0, 1, 0, 0, 0, 0, 1))
        with pytest.raises(BadAnswerError, match="lies elsewhere"):
            fetch(Volumes(geometry=flipped), "phantom_0013")

    def test_the_next_image_is_one_that_this_client_can_get(self) -> None:
        def item(image_id: str, state: str, owner: str | None = None) -> QueueItem:
            return QueueItem.model_validate({"id": image_id, "state": state, "owner": owner})

        items = [
            item("adas", "leased", "ada"),
            item("bens", "leased", "ben"),
            item("open now", "open"),
            item("damaged", "unreadable"),
            item("done", "labelled"),
        ]
        queue = Queue(strategy="epistemic", checkpoint_id="x", items=items, counts={})
        assert likely_next(queue, "ada", "another") == "open now"
        assert likely_next(queue, "ada", "open now") == "adas"
        assert likely_next(queue, "eve", "open now") is None


class TestPlaces:
    def test_a_flat_file_and_a_slice_of_it(self) -> None:
        flat = Geometry.calibrated((0.5, 0.25))
        sliced = Geometry((0.25, 0.5, 4), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1), True)
        assert coincide(flat, sliced)
        assert coincide(sliced, flat)

    def test_rounding_is_no_move(self) -> None:
        rounded = replace(TURNED, origin=(1.0000001, 2, 3), spacing=(0.25000001, 0.5, 1))
        assert coincide(TURNED, rounded)

    @pytest.mark.parametrize(
        "other",
        [
            replace(TURNED, origin=(1.01, 2, 3)),
            replace(TURNED, spacing=(0.5, 0.25, 1)),
            replace(TURNED, direction=(0, 1, 0, 1, 0, 0, 0, 0, 1)),
            replace(TURNED, origin=(1, 2, 4)),
        ],
    )
    def test_another_place(self, other: Geometry) -> None:
        assert not coincide(TURNED, other)


class TestMeasuring:
    def test_a_circle_has_its_circumference(self) -> None:
        head = measure(ellipse(60, 60), LABELS, (0.5, 0.5))
        assert head is not None
        assert head.hc_mm == pytest.approx(2 * np.pi * 30, rel=0.005)

    def test_labels_without_a_head_have_none(self) -> None:
        assert measure(ellipse(60, 60), {"femur": 1}, (0.5, 0.5)) is None

    def test_another_structure_is_not_the_head(self) -> None:
        mask = ellipse(60, 60)
        mask[:20] = 2
        head = measure(mask, {"fetal head": 1, "table": 2}, (0.5, 0.5))
        assert head == measure(ellipse(60, 60), LABELS, (0.5, 0.5))

    def test_what_a_correction_changed(self) -> None:
        proposal, mask = ellipse(60, 80), ellipse(66, 88)
        before = measure(proposal, LABELS, (0.5, 0.5))
        change = compare(before, proposal, mask, LABELS, (0.5, 0.5))
        assert change.changed_px == int((mask != proposal).sum())
        assert change.changed_mm2 == pytest.approx(change.changed_px / 4)
        assert before is not None
        assert before.hc_mm is not None
        assert change.delta_hc_mm == pytest.approx(0.1 * before.hc_mm, rel=0.02)

    def test_without_a_pixel_size_there_are_no_mm(self) -> None:
        proposal = ellipse(60, 80)
        change = compare(measure(proposal, LABELS, None), proposal, proposal, LABELS, None)
        assert (change.changed_px, change.changed_mm2, change.delta_hc_mm) == (0, None, None)
        assert change.after is not None
        assert change.after.hc_px is not None


class TestCorrections:
    def test_a_picture_gets_a_picture(self, case: OpenCase) -> None:
        mask = case.proposal.mask.copy()
        mask[0, :5] = 2
        sent = make_correction(case, mask, {"b": 2, "a": 1})
        assert sent.file_name == "label.png"
        assert (sent.image_id, sent.base_version) == ("scan 7", 2)
        assert sent.label_names == ("a", "b")
        np.testing.assert_array_equal(read_correction(sent), mask)

    def test_a_volume_gets_a_volume_in_its_place(self, case: OpenCase) -> None:
        placed = replace(case, image=replace(case.image, geometry=TURNED))
        sent = make_correction(placed, case.proposal.mask, LABELS)
        assert sent.file_name == "label.nii.gz"
        np.testing.assert_array_equal(read_correction(sent), case.proposal.mask)

    def test_numbers_that_are_left_out_have_no_order(self, case: OpenCase) -> None:
        assert make_correction(case, case.proposal.mask, {"a": 1, "c": 3}).label_names == ()

    def test_each_submission_has_its_own_key(self, case: OpenCase) -> None:
        first, second = (make_correction(case, case.proposal.mask, LABELS) for _ in range(2))
        assert first.idempotency_key != second.idempotency_key

    def test_what_is_no_mask_is_refused(self, case: OpenCase) -> None:
        sent = make_correction(case, case.proposal.mask, LABELS)
        with pytest.raises(RefusedError):
            read_correction(replace(sent, content=b"no picture"))


class TestLeases:
    LEASE = Lease(image="x", client_id="ada", expires_at=0.0, seconds_left=100.0)

    def test_it_is_renewed_at_half_time(self) -> None:
        # The server's clock, expires_at, is not looked at.
        assert HeldLease.received(self.LEASE, 1000.0) == HeldLease(1050.0, 1100.0)

    def test_a_failed_renewal_is_tried_ever_sooner(self) -> None:
        held = HeldLease.received(self.LEASE, 1000.0)
        assert [held.retry_at(now) for now in (1050.0, 1075.0, 1099.5)] == [1075.0, 1087.5, 1100.5]


def test_a_case_knows_its_offer() -> None:
    image = as_ultrasound_image(np.zeros((4, 4), np.uint8))
    proposal = Proposal("a", np.zeros((4, 4), np.uint8))
    assert OpenCase(Offer("a"), image, proposal).proposal.checkpoint_id is None
