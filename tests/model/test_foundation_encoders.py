"""The ultrasound foundation models load files of their published layout.

The weights themselves are not ours to ship: random tensors with the published names and, where a
test says so, the published shapes stand for them.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch import Tensor, nn

from lfusion.errors import EncoderError
from lfusion.model import EncoderConfig, build_encoder, load_encoder_weights
from lfusion.model.encoders import CATALOGUE, EncoderEntry

SMALL_SWIN: dict[str, Any] = {"embed_dim": 16, "num_heads": (1, 2, 4, 8)}


class OpenClipBlock(nn.Module):
    """A residual attention block with the module names of open_clip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=nn.GELU(), c_proj=nn.Linear(4 * width, width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class OpenClipVisual(nn.Module):
    """The image tower of open_clip: the same tensors under the same names."""

    def __init__(self, width: int, layers: int, heads: int, patch: int, size: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width))
        self.proj = nn.Parameter(torch.randn(width, 3 * width // 4))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(
            OpenClipBlock(width, heads) for _ in range(layers)
        )
        self.ln_post = nn.LayerNorm(width)

    def tokens(self, image: Tensor) -> list[Tensor]:
        """Return the map of every block."""
        x = self.conv1(image)
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat((self.class_embedding.expand(len(x), 1, -1), x), 1)
        x = self.ln_pre(x + self.positional_embedding)
        maps = []
        for block in cast("nn.ModuleList", self.transformer.resblocks):
            x = block(x)
            maps.append(x[:, 1:].transpose(1, 2).reshape(len(x), -1, *grid))
        return maps


def randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_fetalclip_gives_the_tokens_of_the_open_clip_tower(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = OpenClipVisual(width=64, layers=24, heads=2, patch=14, size=224).eval()
    randomise(tower)
    text = {"positional_embedding": torch.rand(117, 48), "logit_scale": torch.tensor(4.6)}
    file = {**text, **{f"visual.{k}": v for k, v in tower.state_dict().items()}}
    torch.save(file, tmp_path / "FetalCLIP_weights.pt")
    encoder = build_encoder(EncoderConfig("fetalclip", {"embed_dim": 64, "num_heads": 2})).eval()
    load_encoder_weights(encoder, tmp_path / "FetalCLIP_weights.pt")
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = tower.tokens(image)
        for ours, block in zip(encoder.body(image), (5, 11, 17, 23), strict=True):
            torch.testing.assert_close(ours, expected[block], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoder.mean.flatten()[0].item(), 0.48145466)


def test_fetalclip_has_the_published_shapes() -> None:
    with torch.device("meta"):
        tower = OpenClipVisual(width=1024, layers=24, heads=16, patch=14, size=224)
        encoder = build_encoder(EncoderConfig("fetalclip"))
    published = {f"visual.{k}": v for k, v in tower.state_dict().items()}
    assert len(published) == 296  # of open_clip's ViT-L-14
    assert published["visual.positional_embedding"].shape == (257, 1024)
    assert published["visual.transformer.resblocks.23.attn.in_proj_weight"].shape == (3072, 1024)
    converted = encoder.convert(published, encoder.body)
    for key, tensor in encoder.body.state_dict().items():
        assert converted[key].shape == tensor.shape, key


def usfm_layout(width: int, heads: int, depth: int, hidden: int) -> dict[str, Tensor]:
    """Names and shapes of USFM's pretraining file: one table of biases for all blocks."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "mask_token": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "rel_pos_bias.relative_position_bias_table": (27 * 27 + 3, heads),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in (f"blocks.{number}." for number in range(depth)):
        shapes |= {
            block + name: shape
            for name, shape in {
                "gamma_1": (width,),
                "gamma_2": (width,),
                "norm1.weight": (width,),
                "norm1.bias": (width,),
                "attn.q_bias": (width,),
                "attn.v_bias": (width,),
                "attn.qkv.weight": (3 * width, width),
                "attn.proj.weight": (width, width),
                "attn.proj.bias": (width,),
                "norm2.weight": (width,),
                "norm2.bias": (width,),
                "mlp.fc1.weight": (hidden, width),
                "mlp.fc1.bias": (hidden,),
                "mlp.fc2.weight": (width, hidden),
                "mlp.fc2.bias": (width,),
            }.items()
        }
    return {name: 0.2 * torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("wrapping", ["plain", "nested", "simmim", "fine-tuned"])
def test_usfm_gives_the_tokens_of_a_beit_with_its_table_in_every_block(
    tmp_path: Path, wrapping: str
) -> None:
    torch.manual_seed(0)
    state = usfm_layout(width=48, heads=3, depth=12, hidden=192)
    tables = {
        f"blocks.{number}.attn.relative_position_bias_table": state[
            "rel_pos_bias.relative_position_bias_table"
        ]
        for number in range(12)
    }
    options: dict[str, Any] = {"embed_dim": 48, "num_heads": 3}
    model: Any = timm.create_model("beit_base_patch16_224", num_classes=0, **options).eval()
    model.load_state_dict({**state, **tables}, strict=False)
    file: dict[str, Any] = state
    if wrapping == "nested":
        file = {"model": state, "epoch": 400}
    elif wrapping == "simmim":
        file = {f"encoder.{k}": v for k, v in state.items()} | {"decoder.0.bias": torch.rand(3)}
    elif wrapping == "fine-tuned":
        file = {k: v for k, v in state.items() if not k.startswith("rel_pos_bias")} | tables
    torch.save(file, tmp_path / "USFM_latest.pth")
    encoder = build_encoder(EncoderConfig("usfm", options)).eval()
    load_encoder_weights(encoder, tmp_path / "USFM_latest.pth")
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = model.forward_intermediates(image, [2, 5, 8, 11], intermediates_only=True)
        for ours, theirs in zip(encoder.body(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert encoder(torch.rand(1, 1, 64, 96))[0].shape == (1, 12, 16, 24)


def test_usfm_has_the_published_shapes() -> None:
    with torch.device("meta"):
        encoder = build_encoder(EncoderConfig("usfm"))
        published = usfm_layout(width=768, heads=12, depth=12, hidden=3072)
    converted = encoder.convert(published, encoder.body)
    for key, tensor in encoder.body.state_dict().items():
        assert converted[key].shape == tensor.shape, key


@pytest.mark.parametrize("nested", [False, True])
def test_echocare_loads_into_monais_transformer(tmp_path: Path, nested: bool) -> None:
    swin_unetr = pytest.importorskip("monai.networks.nets.swin_unetr")
    torch.manual_seed(0)
    swin = swin_unetr.SwinTransformer(
        in_chans=3,
        embed_dim=16,
        window_size=[8, 8],
        patch_size=[2, 2],
        depths=[2, 2, 18, 2],
        num_heads=[1, 2, 4, 8],
        spatial_dims=2,
        use_v2=True,
    ).eval()
    state = {**swin.state_dict(), "mask_token": torch.rand(1, 16, 1, 1)}
    torch.save({"state_dict": state} if nested else state, tmp_path / "echocare_encoder.pth")
    encoder = build_encoder(EncoderConfig("echocare", SMALL_SWIN)).eval()
    load_encoder_weights(encoder, tmp_path / "echocare_encoder.pth")
    image = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        maps, expected = encoder(image), swin(image.expand(-1, 3, -1, -1))
    for ours, theirs, stride in zip(maps, expected, encoder.reductions, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.shape[-2:] == (64 // stride, 96 // stride)
    assert [m.shape[1] for m in maps] == list(encoder.channels) == [16, 32, 64, 128, 256]


def test_echocare_has_the_published_keys() -> None:
    pytest.importorskip("monai")
    keys = set(build_encoder(EncoderConfig("echocare", SMALL_SWIN)).body.state_dict())
    # the names in the file; a MONAI that renames them would no longer take it
    assert {
        "patch_embed.proj.weight",
        "layers1c.0.layer.conv1.conv.weight",
        "layers3.0.blocks.17.attn.relative_position_bias_table",
        "layers4.0.downsample.reduction.weight",
    } <= keys


@pytest.mark.parametrize("name", ["fetalclip", "usfm", "echocare"])
def test_a_foreign_file_is_refused_with_what_it_holds(tmp_path: Path, name: str) -> None:
    small: dict[str, Any] = {"embed_dim": 48, "num_heads": 3, "depth": 4}
    options = SMALL_SWIN if name == "echocare" else small
    torch.save({"fc.weight": torch.rand(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(EncoderError, match=r"lacks .* found 1 tensors, first 'fc\.weight'"):
        load_encoder_weights(build_encoder(EncoderConfig(name, options)), tmp_path / "other.pth")


def test_no_hub_has_their_weights() -> None:
    with pytest.raises(EncoderError, match="--encoder-weights"):
        build_encoder(EncoderConfig("fetalclip"), pretrained=True)


def test_options_that_the_model_does_not_know_are_named() -> None:
    with pytest.raises(EncoderError, match="no_such_option"):
        build_encoder(EncoderConfig("echocare", {"no_such_option": 1}))


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_the_catalogue_counts_the_parameters(entry: EncoderEntry) -> None:
    # MONAI computes with values while it builds, so its model cannot be built without memory
    with torch.device("cpu" if entry.name == "echocare" else "meta"):
        body = build_encoder(EncoderConfig(entry.name)).body
    assert sum(p.numel() for p in body.parameters()) == entry.parameters


def test_the_catalogue_names_the_licences_that_timm_knows() -> None:
    known = {"apache-2.0": "Apache-2.0", "dinov3-license": "DINOv3 License"}
    entries = [entry for entry in CATALOGUE if entry.name.startswith("timm:")]
    assert entries
    for entry in entries:
        published = timm.models.get_pretrained_cfg(entry.name.removeprefix("timm:"))
        assert published is not None
        assert entry.licence == known[str(published.license)]
        assert entry.weights.endswith(f"/{published.architecture}.{published.tag}")
