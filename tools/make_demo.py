"""Make the plugin's demonstration: what the shipped model says about six sample images.

    python tools/make_demo.py        # rewrites napari_lfusion/demo/data, about 1 MB

The plugin is installed without torch, so the predictions come with it: the mask, two maps in 8
bits (their sum is the third), the scalars, and the masks along three principal modes as the bits
of one picture each.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lfusion.acquisition import STRATEGIES
from lfusion.image import Case, Dataset, UltrasoundImage
from lfusion.predictor import Predictor, load
from lfusion.protocol import Abnormality, InferResult, Latencies
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.counterfactual import adopt, principal_modes, walk

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "napari_lfusion" / "demo" / "data"
IMAGES = ("0013", "0004", "0016", "0012", "0008", "0003")
"""Of the test split: two normal, two abnormal, two poor."""
STEPS = (-2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0)
"""Along a mode, in standard deviations: one bit each."""
MODES = 3
SIMULATED = "(This scan is simulated; the model knows real ones.)"


def main() -> None:
    """Predict and write everything."""
    predictor = load(device="cpu")
    cases = {case.id: case for case in Dataset.read(ROOT / "sample_data")}
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    entries = [_write(predictor, cases[f"phantom_{number}"]) for number in IMAGES]
    index = {
        "strategies": {name: key for name, key in STRATEGIES.items() if key is not None},
        "epistemic_scale": predictor.checkpoint.calibration.bands["epistemic"][1],
        "mode_steps": STEPS,
        "cases": entries,
    }
    (DATA / "demo.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _write(predictor: Predictor, case: Case) -> dict[str, Any]:
    """Write the files of one case; returns its entry."""
    image = case.read()
    prediction = predictor(image)
    shutil.copyfile(case.image_path, DATA / f"{case.id}.png")
    Image.fromarray(prediction.mask).save(DATA / f"{case.id}_mask.png", optimize=True)
    steps = {
        name: _write_map(DATA / f"{case.id}_{name}.png", getattr(prediction, name))
        for name in ("epistemic", "aleatoric")
    }
    contrasts = _contrasts(predictor, image)
    modes = principal_modes(contrasts)[:MODES]
    for number, mode in enumerate(modes):
        walked = walk(contrasts, mode, STEPS)
        masks = [adopt(step.logits, image.pixels.shape).numpy() for step in walked]
        _write_planes(DATA / f"{case.id}_mode{number}.png", masks)
    result = InferResult(
        label_names=dict(prediction.labels),
        scores=dict(prediction.scores),
        percentiles=dict(prediction.percentiles),
        biometry=None if prediction.biometry is None else prediction.biometry.as_dict(),
        angle=None if prediction.angle is None else prediction.angle.as_dict(),
        areas={name: area.as_dict() for name, area in prediction.areas.items()},
        pixel_size_mm=prediction.pixel_size_mm,
        checkpoint_id=prediction.checkpoint_id,
        maps={},
        abnormality=_told(prediction.abnormality),
        regions=list(prediction.regions),
        latencies=Latencies(read=0.0, predict=0.0, write=0.0, total=0.0),
    )
    return {
        "id": case.id,
        "condition": case.meta["condition"],
        "detail": case.meta["condition_detail"],
        "map_steps": steps,
        "variance_shares": [mode.variance_share for mode in modes],
        "result": result.model_dump(mode="json"),
    }


def _told(abnormality: Abnormality | None) -> Abnormality | None:
    """The same, and why: the model is right that phantoms are unlike the scans it knows."""
    if abnormality is None:
        return None
    sentence = f"{abnormality.sentence} {SIMULATED}"
    return abnormality.model_copy(update={"sentence": sentence})


def _write_map(path: Path, values: NDArray[np.float32]) -> float:
    """Write a map in 8 bits; returns nats per grey level."""
    step = float(values.max()) / 255 or 1.0
    levels = np.rint(np.clip(values / step, 0, 255)).astype(np.uint8)
    Image.fromarray(levels).save(path, optimize=True)
    return step


@torch.inference_mode()
def _contrasts(predictor: Predictor, image: UltrasoundImage) -> ContrastDistribution:
    """The logits of an image, as the stochastic head gives them."""
    network = predictor.checkpoint.network
    pixels, sector = predictor.checkpoint.input.prepare(
        image.pixels, image.sector, network.stride, torch.device("cpu")
    )
    features = network.decode(network.encode(pixels), network.grid(pixels))
    return ContrastDistribution.of(network.head(features, sector))


def _write_planes(path: Path, masks: list[NDArray[np.uint8]]) -> None:
    """Write eight masks of one class as the bits of one picture."""
    planes = sum(((mask > 0).astype(np.uint8) << bit for bit, mask in enumerate(masks)))
    Image.fromarray(np.asarray(planes, np.uint8)).save(path, optimize=True)


if __name__ == "__main__":
    main()
