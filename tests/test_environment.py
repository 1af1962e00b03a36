"""The installed set: what is declared, what is pinned, and what is really there.

torch and torchvision of different builds install side by side without a word
and fail at the first image operation, so the pair is run, not only compared.
"""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def requirement_lines(text: str) -> list[str]:
    return [line for raw in text.splitlines() if (line := raw.split("#")[0].strip())]


@pytest.fixture(scope="session")
def pins() -> dict[str, Requirement]:
    """The pins of constraints.txt that apply to this machine, by package."""
    lines = requirement_lines((ROOT / "constraints.txt").read_text())
    requirements = map(Requirement, lines)
    return {
        canonicalize_name(pin.name): pin
        for pin in requirements
        if pin.marker is None or pin.marker.evaluate()
    }


@pytest.fixture(scope="session")
def declared() -> dict[str, list[Requirement]]:
    """What setup.cfg asks for: `base` and every extra."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    groups = {"base": parser["options"]["install_requires"]}
    groups |= dict(parser["options.extras_require"])
    return {name: list(map(Requirement, requirement_lines(text))) for name, text in groups.items()}


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def test_torchvision_operators_run_on_the_installed_torch() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [8.0, 8.0, 9.0, 9.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), iou_threshold=0.5)
    assert kept.tolist() == [1, 2]


def test_timm_makes_a_feature_pyramid_without_a_download() -> None:
    encoder = timm.create_model("resnet18", pretrained=False, features_only=True, in_chans=1)
    with torch.inference_mode():
        features = encoder(torch.zeros(1, 1, 64, 64))
    assert [feature.shape[-1] for feature in features] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("name", ["torch", "torchvision", "timm", "monailabel", "pydicom"])
def test_what_is_installed_is_what_is_pinned(name: str, pins: dict[str, Requirement]) -> None:
    installed = version(name)
    assert pins[name].specifier.contains(installed), (
        f"{name} {installed} is installed, constraints.txt has {pins[name]}: run make test again, "
        "or install with -c constraints.txt"
    )


def test_constraints_are_exact_and_name_no_place() -> None:
    for line in requirement_lines((ROOT / "constraints.txt").read_text()):
        pin = Requirement(line)
        assert pin.url is None, line
        assert not line.startswith("-"), line
        assert [spec.operator for spec in pin.specifier] == ["=="], line
        assert "*" not in str(pin.specifier), line
        assert "/" not in line, line


def test_every_declared_package_is_pinned_within_its_bounds(
    declared: dict[str, list[Requirement]], pins: dict[str, Requirement]
) -> None:
    for group, requirements in declared.items():
        for requirement in requirements:
            if requirement.marker is not None and not requirement.marker.evaluate():
                continue
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin is not None, f"[{group}] {requirement} has no pin: run make pins"
            pinned = str(pin.specifier).removeprefix("==")
            assert requirement.specifier.contains(pinned), f"[{group}] {requirement} against {pin}"


def test_the_extras_hold_what_their_names_promise(declared: dict[str, list[Requirement]]) -> None:
    heavy = {"torch", "torchvision", "timm", "torchmetrics", "monai", "monailabel"}
    assert not names(declared["base"]) & heavy
    assert not names(declared["napari"]) & heavy
    assert names(declared["torch"]) >= {"torch", "torchvision", "timm"}
    assert names(declared["server"]) > names(declared["torch"])
    assert names(declared["all"]) == names(declared["server"]) | names(declared["napari"])


def test_the_ground_floor_imports_without_torch() -> None:
    program = (
        "import sys\n"
        "import lfusion, lfusion.biometry, lfusion.errors, lfusion.image, lfusion.protocol\n"
        "import lfusion.types\n"
        "heavy = {'torch', 'torchvision', 'timm', 'monai', 'monailabel'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
