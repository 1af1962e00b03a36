"""What the panels say, as pure functions of what is known."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lfusion.biometry import AngleOfProgression, HeadBiometry
from lfusion.protocol import InferResult, Why
from napari_lfusion.core.journal import Unfinished
from napari_lfusion.core.measure import Change
from napari_lfusion.core.session import (
    Connecting,
    Disconnected,
    Editing,
    Idle,
    Leasing,
    Leaving,
    Loading,
    State,
    Submitting,
)

HIGH = 75.0
"""Percentile from which on a signal is worth a sentence."""


def status_line(state: State, dirty: bool, outbox: int, refused: int = 0) -> str:
    """One line that is always true.

    Args:
        state: Of the session.
        dirty: Whether the mask was changed.
        outbox: Corrections that wait to be sent.
        refused: Corrections that the server did not take.

    Returns:
        The line.
    """
    waiting = f" · {outbox} waiting to be sent" if outbox else ""
    waiting += f" · {refused} refused" if refused else ""
    match state:
        case Disconnected(reason):
            return "Not connected" if reason is None else f"Not connected: {reason}"
        case Connecting():
            return "Connecting …"
        case Idle(info, pool_empty):
            doing = "the pool is empty: everything is labelled" if pool_empty else "ready"
        case Leasing():
            doing, info = "asking for a case …", state.info
        case Loading(info, offer):
            doing = f"opening {offer.image_id} …"
        case Editing(info, case):
            doing = f"{case.offer.image_id}, {'changed' if dirty else 'unchanged'}"
        case Submitting(info, case):
            doing = f"submitting {case.offer.image_id} …"
        case Leaving(info, case):
            doing = f"leaving {case.offer.image_id} …"
    return f"{info.name} · {doing}{waiting}"


def resumed_line(unfinished: Unfinished) -> str:
    """That a case goes on where it was left.

    Args:
        unfinished: What the journal held of it.

    Returns:
        A sentence.
    """
    when = time.strftime("%d %b, %H:%M:%S", time.localtime(unfinished.saved_at))
    number = unfinished.entry.effort.strokes
    strokes = f"{number} stroke{'' if number == 1 else 's'}"
    return f"{unfinished.entry.image_id} goes on as it was on {when}, after {strokes}"


def two_signals(result: InferResult | None) -> str:
    """What the two kinds of uncertainty ask the annotator to do.

    Args:
        result: Of the proposal, None on a plain server.

    Returns:
        One sentence.
    """
    if result is None:
        return "This server gives no uncertainty: look at the whole outline."
    epistemic = _percentile(result, "epistemic")
    aleatoric = _percentile(result, "aleatoric")
    if epistemic is None or aleatoric is None:
        return "This model is not calibrated: compare the maps, not the numbers."
    learn = "please correct: the model can learn this"
    ambiguous = "the image itself is ambiguous: skip or flag"
    if epistemic >= HIGH and aleatoric >= HIGH:
        return f"Both signals are high. Where epistemic is high, {learn}; elsewhere {ambiguous}."
    if epistemic >= HIGH:
        return f"New to the model ({epistemic:.0f} % of images are less so): {learn}."
    if aleatoric >= HIGH:
        return f"Hard to see ({aleatoric:.0f} % of images are clearer): {ambiguous}."
    return "Both signals are low: a look at the outline will do."


def head_line(head: HeadBiometry | None) -> str:
    """The head circumference, or why there is none.

    Args:
        head: Measured on the mask; None when the labels have no head.

    Returns:
        A short line.
    """
    if head is None:
        return "no head among the labels"
    if head.hc_mm is not None:
        return f"HC {head.hc_mm:.1f} mm"
    if head.hc_px is not None:
        return f"HC {head.hc_px:.0f} px, unscaled"
    return f"not measurable: {head.refusal}"


def angle_line(angle: AngleOfProgression | None) -> str:
    """The angle of progression, or why there is none.

    Args:
        angle: Measured on the mask; None when the labels lack its structures.

    Returns:
        A short line, empty without the structures.
    """
    if angle is None:
        return ""
    if angle.aop_deg is None:
        return f"AoP not measurable: {angle.refusal}"
    return f"AoP {angle.aop_deg:.0f}°"


def change_line(change: Change) -> str:
    """What the corrections changed so far.

    Args:
        change: Against the proposal.

    Returns:
        A short line.
    """
    if change.changed_px == 0:
        return "as proposed"
    area = f"{change.changed_px} px"
    if change.changed_mm2 is not None:
        area = f"{change.changed_mm2:.0f} mm²"
    delta = change.delta_hc_mm
    return f"changed {area}" + ("" if delta is None else f", ΔHC {delta:+.1f} mm")


def interval_line(biometry: Mapping[str, Any] | None) -> str:
    """The interval of the proposal's head circumference.

    Args:
        biometry: `InferResult.biometry`.

    Returns:
        A short line, empty without an interval.
    """
    if biometry is None or biometry.get("interval_level") is None:
        return ""
    share = f"{100 * biometry['interval_level']:.0f} %"
    for unit, digits in (("mm", 1), ("px", 0)):
        ends = biometry.get(f"hc_{unit}_interval")
        if ends is not None:
            low, high = (f"{end:.{digits}f}" for end in ends)
            return f"of the proposal: {low} to {high} {unit} in {share} of scans"
    return ""


def unusual_line(result: InferResult | None) -> str:
    """How unusual the image is.

    Args:
        result: Of the proposal.

    Returns:
        A sentence, empty when the model cannot say.
    """
    if result is None or result.abnormality is None:
        return ""
    return f"{result.abnormality.sentence} p = {result.abnormality.p_value:.2g}"


def places_line(result: InferResult | None) -> str:
    """The places that are as unusual as an unusual image, by kind.

    Args:
        result: Of the proposal.

    Returns:
        A short line, empty without such places.
    """
    if result is None or result.abnormality is None:
        return ""
    rate = result.abnormality.false_alarm_rate
    places = [region for region in result.regions if region.p_value <= rate]
    counts = Counter(region.kind for region in places)
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    least = min((region.p_value for region in places), default=1.0)
    return f"Unusual places: {kinds} (p from {least:.2g})" if places else ""


def why_line(why: Why | None) -> str:
    """Why this image.

    Args:
        why: From the server, None when chosen by hand.

    Returns:
        A sentence.
    """
    if why is None:
        return "chosen by hand"
    if why.sentence:
        return why.sentence
    if why.score is None:
        return f"by {why.strategy}"
    share = "" if why.percentile is None else f", above {why.percentile:.0f} % of the pool"
    return f"{why.score_name or why.strategy} {why.score:.3g}{share}"


def _percentile(result: InferResult, term: str) -> float | None:
    """Of the score that the queue goes by, so that the panel says nothing else than the queue."""
    return result.percentiles.get(f"{term}_per_sqrt_area")
