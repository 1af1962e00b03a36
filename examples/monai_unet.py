"""Doubt for a network of somebody else: the exact posterior over the head of a MONAI U-Net.

Nothing of the network is changed. A hook on its last layer, a 1×1 convolution, hands out the
features; the posterior is fitted on them and on the layer's own weights.

    python examples/monai_unet.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from monai.networks.nets.basic_unet import BasicUNet
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lfusion.image import Dataset
from lfusion.uncertainty import LastLayerLaplace, Structure, fit_prior_precision

SIZE = (64, 96)
SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"


def read_split(name: str) -> tuple[Tensor, Tensor]:
    """Return images [n, 1, H, W] and class numbers [n, H, W] of a split of the sample data."""
    cases = Dataset.read(SAMPLES).split(name).cases[:8]
    images = torch.stack([torch.from_numpy(case.read().pixels)[None] for case in cases])
    masks = torch.stack([torch.from_numpy(case.read_mask())[None] for case in cases])
    images = nn.functional.interpolate(images, SIZE, mode="area")
    return images, nn.functional.interpolate(masks.float(), SIZE).long()[:, 0]


def train(images: Tensor, targets: Tensor, steps: int = 60) -> BasicUNet:
    """Return a small U-Net for two classes."""
    torch.manual_seed(0)
    network = BasicUNet(spatial_dims=2, out_channels=2, features=(8, 8, 16, 16, 32, 8))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(network(images), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


@torch.no_grad()
def features_before(layer: nn.Module, network: nn.Module, images: Tensor) -> Tensor:
    """Return what goes into a layer when the network sees the images."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        network(images)
    finally:
        hook.remove()
    return seen[0]


def main() -> None:
    """Fit each structure and show what the network knows least about."""
    images, targets = read_split("train")
    network = train(images, targets)
    head = network.final_conv
    unseen = {
        "training images": images,
        "held-out images": read_split("test")[0],
        "noise": torch.rand(4, 1, *SIZE, generator=torch.Generator().manual_seed(1)),
    }
    table = Table("structure", *unseen, title="epistemic uncertainty, 10⁻³ nats per pixel")
    for structure in Structure:
        stream = (features_before(head, network, image[None]) for image in images)
        posterior = LastLayerLaplace.fit(stream, head.weight, head.bias, structure=structure)
        posterior = fit_prior_precision(posterior)
        row = []
        for pictures in unseen.values():
            terms = posterior.predict(features_before(head, network, pictures))
            row.append(f"{1000 * float(terms.mutual_information.mean()):.3f}")
        table.add_row(structure, *row)
    Console().print(table)


if __name__ == "__main__":
    main()
