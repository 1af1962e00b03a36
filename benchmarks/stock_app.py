"""The least MONAI Label app around a network of ours: what `benchmarks/server.py` compares with.

The benchmark copies this file as `main.py` into a folder of its own, where MONAI Label loads it:
its own datastore, its own Random strategy, its own inference task and server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.inferers.inferer import Inferer, SimpleInferer
from monai.transforms.intensity.dictionary import ScaleIntensityd
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.post.dictionary import AsDiscreted
from monai.transforms.spatial.dictionary import Resized
from monai.transforms.utility.dictionary import EnsureChannelFirstd, EnsureTyped
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.random import Random
from monailabel.tasks.infer.basic_infer import BasicInferTask
from monailabel.transform.post import Restored
from torch import Tensor, nn

from lfusion.checkpoint import Checkpoint
from lfusion.model.network import SegmentationNetwork


class MeanLogits(nn.Module):
    """The network without its uncertainty: pixels → logits."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [batch, classes, height / stride, width / stride]."""
        logits: Tensor = self.network.head.mean(self.network.features(pixels))
        return logits


class Segmentation(BasicInferTask):  # type: ignore[misc]  # MONAI Label has no types
    """A picture on a square grid through the network, and its mask back on the picture's own."""

    def __init__(self, checkpoint: Path, grid: int) -> None:
        network = MeanLogits(Checkpoint.load(checkpoint).network)
        super().__init__(
            path=None,
            network=network.eval(),
            type=InferType.SEGMENTATION,
            labels=["fetal head"],
            dimension=2,
            description="",
        )
        self._grid = grid

    def pre_transforms(self, data: Any = None) -> Sequence[Callable[[Any], Any]]:
        """Load, scale to [0, 1], and bring to the network's grid."""
        return [
            LoadImaged(keys="image", reader="PILReader"),
            EnsureTyped(keys="image"),
            EnsureChannelFirstd(keys="image"),
            ScaleIntensityd(keys="image"),
            Resized(keys="image", spatial_size=(self._grid, self._grid)),
        ]

    def inferer(self, data: Any = None) -> Inferer:
        """One pass."""
        return SimpleInferer()

    def post_transforms(self, data: Any = None) -> Sequence[Callable[[Any], Any]]:
        """The most probable class on the picture's own grid."""
        return [
            AsDiscreted(keys="pred", argmax=True),
            Restored(keys="pred", ref_image="image"),
        ]


class StockApp(MONAILabelApp):  # type: ignore[misc]  # MONAI Label has no types
    """One model and one strategy.

    Args:
        app_dir: Folder of this file.
        studies: Folder of the images.
        conf: `checkpoint`, a file; `grid`, pixels along each side of the network's input.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        self._task = Segmentation(Path(conf["checkpoint"]), int(conf["grid"]))
        super().__init__(app_dir=app_dir, studies=studies, conf=conf, name="stock")

    def init_infers(self) -> dict[str, InferTask]:
        """The model `stock`."""
        return {"stock": self._task}

    def init_strategies(self) -> dict[str, Strategy]:
        """The cheapest of MONAI Label's own strategies."""
        return {"random": Random()}
