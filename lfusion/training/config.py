"""What a training run is told, and what it tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from lfusion.model import EncoderConfig
from lfusion.model.input import InputSpec

Trained: TypeAlias = Literal["all", "decoder", "last_block"]
Precision: TypeAlias = Literal["float32", "bfloat16"]

SEMI_SUPERVISED_WEIGHT = 0.1
"""Of the images without labels where they are asked for."""


@dataclass(frozen=True)
class TrainingConfig:
    """Hyperparameters of one run; the defaults made the shipped checkpoint.

    Attributes:
        encoder: encoder of a new network; a warm start keeps its own.
        input: the working grid of a new network.
        feature_dim: D of a new network.
        rank: R of a new network.
        dropout: training rate of a new network.
        steps: optimiser steps at most.
        batch_size: images per step.
        learning_rate: peak rate of decoder, head and neck.
        encoder_rate: share of the rate that the pretrained part of the encoder gets.
        trained: "all" weights, the whole "decoder" with the head while the encoder and its neck
            stand still, or only the decoder's "last_block" with the head.
        lora_rank: rank of the adapters that train the attention of a transformer encoder while
            its other weights stand still; 0 trains every weight.
        precision: of the encoder's and decoder's arithmetic while weights are fitted; head, loss
            and weights are float32 always. "bfloat16" pays on processors that know it.
        weight_decay: AdamW's, on all weights that are trained.
        ssn_samples: M of the SSN loss; even.
        average_decay: decay per step of the running average of the weights, which is the result.
        validate_every: steps between looks at the validation images.
        patience: looks without improvement after which training ends early.
        reference: whether a new network with pretrained weights keeps a frozen copy of its encoder
            down to stride 16, which tells what is unusual about an image.
        distance_features: appearance features of that copy that the posterior of a new network
            sees beside φ (distance-aware head); 0 for the plain head, 24 is a good number.
        correction_weight: what a pixel counts in a warm start where its label contradicts the
            starting checkpoint; any other counts 1.
        kept: share of the starting checkpoint's weights in the result of a warm start.
        semi_supervised: weight, once risen, of what the images without labels say; 0 leaves them
            out, else `SEMI_SUPERVISED_WEIGHT`.
        seed: of everything random.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    input: InputSpec = field(default_factory=InputSpec)
    feature_dim: int = 32
    rank: int = 10
    dropout: float = 0.1
    steps: int = 3000
    batch_size: int = 8
    learning_rate: float = 1e-3
    encoder_rate: float = 1 / 6
    trained: Trained = "all"
    lora_rank: int = 0
    precision: Precision = "float32"
    weight_decay: float = 1e-2
    ssn_samples: int = 20
    average_decay: float = 0.995
    validate_every: int = 250
    patience: int = 5
    reference: bool = True
    distance_features: int = 0
    correction_weight: float = 1.0
    kept: float = 0.0
    semi_supervised: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.lora_rank and self.trained != "all":
            raise ValueError(
                f"expected trained='all' beside adapters of rank {self.lora_rank}, got "
                f"{self.trained!r}: adapters are for an encoder that is trained"
            )

    @classmethod
    def quick(cls, seed: int = 0) -> TrainingConfig:
        """Return the preset for a warm start from a handful of corrections.

        The encoder stands still, and half of the start is kept, so that nothing is forgotten:
        `docs/evidence/retraining.md` says what that costs and saves.
        """
        return cls(
            steps=60,
            batch_size=4,
            learning_rate=2e-4,
            trained="decoder",
            kept=0.5,
            average_decay=0.95,
            validate_every=60,
            seed=seed,
        )

    @classmethod
    def first(cls, seed: int = 0) -> TrainingConfig:
        """Return the preset for a warm start that has structures to learn from nothing."""
        return cls(steps=300, batch_size=4, average_decay=0.98, validate_every=100, seed=seed)

    @classmethod
    def full(cls, seed: int = 0) -> TrainingConfig:
        """Return the preset for a warm start from all labels that may take its time."""
        return cls(
            steps=1000,
            learning_rate=5e-4,
            average_decay=0.99,
            validate_every=100,
            seed=seed,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run stands.

    Attributes:
        stage: "fit" while weights change, "reference", "posterior" and "calibration" afterwards.
        step: steps done in this stage.
        steps: steps of this stage.
        loss: running mean of the loss, nats per pixel plus Dice loss; None outside "fit".
        dice: latest mean validation Dice, None before the first look or without validation.
        best_dice: best so far.
        seconds_left: estimate for this stage.
    """

    stage: str
    step: int
    steps: int
    loss: float | None = None
    dice: float | None = None
    best_dice: float | None = None
    seconds_left: float | None = None
