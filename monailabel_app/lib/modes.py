"""The kinds of retraining, and what a client may decide about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from lfusion.predictor import choose_device
from lfusion.training import TrainingConfig
from lfusion.training.config import Precision
from monailabel_app.lib.errors import RequestError

MAX_STEPS = 10_000
"""Of one retraining; more is a job for `lfusion train`."""
MAX_VAL_SPLIT = 0.5


@dataclass(frozen=True)
class Mode:
    """A kind of retraining.

    Attributes:
        config: Of the training.
        val_split: Share of the labels that is held out, unless a client says otherwise.
    """

    config: TrainingConfig
    val_split: float = 0.0

    def config_of(self, steps: int, *, first: bool = False) -> TrainingConfig:
        """Return the configuration of a training on this machine.

        Args:
            steps: Optimiser steps; the mode's own number is left to the configuration.
            first: Whether it has a structure to learn from nothing: a few small steps are not
                enough for that.
        """
        config = self.config
        if first and config.steps < TrainingConfig.first().steps:
            config = TrainingConfig.first()
            steps = config.steps if steps == self.config.steps else steps
        return replace(
            config,
            steps=steps,
            validate_every=min(config.validate_every, max(1, steps // 4)),
            precision=_precision(),
        )


MODES: Mapping[str, Mode] = {
    "quick": Mode(TrainingConfig.quick()),
    "full": Mode(TrainingConfig.full(), val_split=0.2),
}
"""By name, the default first. A quick one goes on from the served checkpoint, a full one from the
first that was served, so that it does not carry on what quick ones drifted to."""


def training_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a client may decide about a training, checked.

    Args:
        request: The client's parameters; those that are not ours are left out.

    Returns:
        `mode`: `quick` or `full`; `steps`, of which 0 is the mode's own number; and `val_split`:
        the share of the labels that is not learned from but used to measure Dice.

    Raises:
        RequestError: One of them is none of these or no number in the allowed range.
    """
    mode = request.get("mode", "quick")
    if not isinstance(mode, str) or mode not in MODES:
        raise RequestError(f"expected the mode {' or '.join(MODES)}; got {str(mode)[:80]!r}")
    steps = request.get("steps", 0)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= MAX_STEPS:
        raise RequestError(
            f"expected steps from 1 to {MAX_STEPS}, or 0 for the mode's own; "
            f"got {str(steps)[:80]!r}"
        )
    share = request.get("val_split", MODES[mode].val_split)
    if (
        isinstance(share, bool)
        or not isinstance(share, int | float)
        or not 0 <= share <= MAX_VAL_SPLIT
    ):
        raise RequestError(f"expected val_split from 0 to {MAX_VAL_SPLIT}; got {str(share)[:80]!r}")
    return {
        "mode": mode,
        "steps": steps or MODES[mode].config.steps,
        "val_split": float(share),
    }


def _precision() -> Precision:
    """The lower one where the processor computes with it."""
    # an older torch cannot tell what the processor knows
    known: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    on_cpu = choose_device("auto").type == "cpu"
    fast = on_cpu and (known.get("avx512_bf16") or known.get("amx_bf16"))
    return "bfloat16" if fast else "float32"
