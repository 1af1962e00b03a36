"""The ways to get uncertainty from one training that `uncertainty.py` compares.

Every method takes an image and answers with class probabilities and maps on the feature grid. All
of one seed share the network, so that they differ in how they look at it and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from lfusion.acquisition import image_scores
from lfusion.checkpoint import Checkpoint, head_weight
from lfusion.image import Dataset, UltrasoundImage
from lfusion.model.dropout import fixed_masks
from lfusion.model.input import resample
from lfusion.predictor import Fields, Predictor
from lfusion.predictor.steps import (
    calibrated_scores,
    plain_scores,
    signals_of,
    uncertainty_maps,
    unfamiliarity_map,
)
from lfusion.uncertainty import (
    Covariance,
    Curvature,
    Decomposition,
    LastLayerLaplace,
    Observation,
    Structure,
    decompose,
    fit_prior_precision,
)
from lfusion.uncertainty.curvature import CURVATURE_SAMPLES
from lfusion.uncertainty.decomposition import entropy
from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.observation import observe

DROPOUT_PASSES = 20
OURS_PASSES = 8
HEADS = 20
DISTANCE_FEATURES = 24
COSTLY = (
    f"MC dropout {DROPOUT_PASSES}",
    "test-time augmentation 8",
    f"ours, full, dropout {OURS_PASSES}",
)
"""These see every third foreign image only, and those with dropout none at the smaller budget."""
GAMMAS = (0.75, 1.0, 1.33, 0.87)


@dataclass(frozen=True, eq=False)
class Output:
    """What a method says about one image.

    Attributes:
        probabilities: [C, h, w].
        maps: epistemic, where the method has one, and total uncertainty [h, w], nats.
        scores: of the image, the larger the worse.
    """

    probabilities: NDArray[np.float32]
    maps: Mapping[str, NDArray[np.float32]]
    scores: Mapping[str, float] = field(default_factory=dict)


Method = Callable[[UltrasoundImage], Output]


def scored(probabilities: Tensor, maps: Mapping[str, Tensor], **more: float) -> Output:
    """Return an output with all scores of its maps."""
    values = {name: value.float().cpu().numpy() for name, value in maps.items()}
    on_grid = probabilities.float().cpu().numpy()
    scores = image_scores(values, on_grid, on_grid.argmax(0).astype(np.uint8))
    return Output(on_grid, values, {**scores, **more})


def of_passes(passes: Tensor) -> Output:
    """Return mean, total entropy and mutual information of softmax passes [K, C, h, w]."""
    mean = passes.mean(0)
    total, expected = entropy(mean, 0), entropy(passes, 1).mean(0)
    pairs = [_overlap_loss(passes[0], other) for other in passes[1:]]
    disagreement = float(np.mean(pairs))
    return scored(mean, {"epistemic": total - expected, "total": total}, disagreement=disagreement)


def _overlap_loss(one: Tensor, other: Tensor) -> float:
    shared = torch.minimum(one[1:], other[1:]).sum()
    return 1.0 - 2.0 * float(shared / (one[1:].sum() + other[1:].sum()))


def of_terms(terms: Decomposition, **more: float) -> Output:
    """Return an output of a decomposition."""
    maps = {
        "epistemic": terms.mutual_information[0],
        "aleatoric": terms.expected_entropy[0],
        "total": terms.predictive_entropy[0],
    }
    return scored(terms.probabilities[0], maps, **more)


def fitted_posteriors(predictor: Predictor, dataset: Dataset) -> dict[str, LastLayerLaplace]:
    """Return the posteriors that one pass over the training images gives, τ by evidence.

    `kron` and `diag` see φ as the checkpoint's own does; `distance-aware` is full and sees the
    look of each pixel to the frozen encoder as well.
    """
    checkpoint = predictor.checkpoint
    noise = torch.Generator(predictor.device).manual_seed(0)
    weights = dict.fromkeys(("kron", "diag"), checkpoint.posterior.weight)
    weights["distance-aware"] = head_weight(checkpoint.network, DISTANCE_FEATURES)
    sums: dict[str, Curvature] = {}
    for case in track(dataset.labelled().cases, "posteriors"):
        seen = predictor.fields(case.read())
        samples = seen.logits.sample(CURVATURE_SAMPLES, noise)
        for name, weight in weights.items():
            aware = name == "distance-aware"
            features = with_looks(predictor, seen) if aware else seen.features
            structure = Structure.FULL if aware else Structure(name)
            part = observe(Observation(features, seen.sector, samples), weight, structure)
            sums[name] = sums[name] + part if name in sums else part
    return {
        name: fit_prior_precision(LastLayerLaplace(weights[name], curvature))
        for name, curvature in sums.items()
    }


def with_looks(predictor: Predictor, seen: Fields) -> Tensor:
    """Return φ followed by the appearance features of a distance-aware head."""
    reference = predictor.checkpoint.reference
    assert reference is not None
    assert seen.appearance is not None
    looks = reference.distance_features(seen.appearance, DISTANCE_FEATURES)
    height, width = seen.features.shape[-2:]
    return torch.cat((seen.features, resample(looks, (height, width))), 1)


class Methods:
    """All methods of one seed."""

    def __init__(
        self, checkpoint: Checkpoint, others: Sequence[Checkpoint], train: Dataset
    ) -> None:
        """Prepare the posteriors; `others` are the further members of the ensemble."""
        self.predictor = Predictor(checkpoint, "cpu")
        self._plain = Predictor(replace(checkpoint, reference=None), "cpu")
        self._others = [Predictor(replace(other, reference=None), "cpu") for other in others]
        self.temperature = checkpoint.calibration.temperature
        self._basis = contrast_basis(2, torch.zeros(()))
        own = checkpoint.posterior
        self.posteriors = {"full": own, **fitted_posteriors(self.predictor, train)}
        prior = LastLayerLaplace.fit(
            torch.zeros(1, own.weight.shape[1] - 1, 1, 1),
            own.weight[:, :-1],
            own.weight[:, -1],
            structure="prior_only",
            prior_precision=own.prior_precision,
        )
        self.posteriors["prior only"] = prior
        like = torch.zeros(())
        self._covariances = {name: p.covariance.to(like) for name, p in self.posteriors.items()}

    def all(self) -> dict[str, Method]:
        """Return the methods by the names of the table."""
        methods: dict[str, Method] = {
            "deterministic": self.deterministic,
            f"MC dropout {DROPOUT_PASSES}": self.dropout,
            "test-time augmentation 8": self.augmented,
            f"deep ensemble {1 + len(self._others)}": self.ensemble,
            "SSN alone": self.stochastic,
            "sampled diagonal Laplace": self.sampled,
        }
        for name in ("prior only", "full", "kron", "diag"):
            methods[name if name == "prior only" else f"ours, {name}"] = self._laplace(name)
        methods[f"ours, full, dropout {OURS_PASSES}"] = self.with_dropout
        methods["ours, full, distance-aware"] = self.distance_aware
        methods["ours, full, frozen encoder"] = self.complete
        return methods

    def deterministic(self, image: UltrasoundImage) -> Output:
        """Softmax of the mean logits."""
        probabilities = self._plain.fields(image).logits.mean.softmax(1)[0]
        return scored(probabilities, {"total": entropy(probabilities, 0)})

    def dropout(self, image: UltrasoundImage) -> Output:
        """Decoder passes with dropout on one pass of the encoder."""
        network, checkpoint = self._plain.checkpoint.network, self._plain.checkpoint
        with torch.inference_mode():
            pixels, _ = checkpoint.input.prepare(
                image.pixels, image.sector, network.stride, torch.device("cpu")
            )
            pyramid, grid, masks = network.encode(pixels), network.grid(pixels), fixed_masks()
            passes = [
                network.head.mean(network.dropout_features(pyramid, grid, masks)).softmax(1)[0]
                for _ in range(DROPOUT_PASSES)
            ]
            return of_passes(torch.stack(passes))

    def augmented(self, image: UltrasoundImage) -> Output:
        """Four gammas, each as it is and mirrored."""
        passes = []
        for gamma in GAMMAS:
            for mirrored in (False, True):
                pixels = image.pixels ** np.float32(gamma)
                turn = np.s_[:, ::-1] if mirrored else np.s_[:, :]
                other = replace(image, pixels=pixels[turn].copy(), sector=image.sector[turn].copy())
                p = self._plain.fields(other).logits.mean.softmax(1)[0]
                passes.append(p.flip(-1) if mirrored else p)
        return of_passes(torch.stack(passes))

    def ensemble(self, image: UltrasoundImage) -> Output:
        """Networks of several seeds."""
        members = (self._plain, *self._others)
        return of_passes(torch.stack([m.fields(image).logits.mean.softmax(1)[0] for m in members]))

    def stochastic(self, image: UltrasoundImage) -> Output:
        """The stochastic head without a posterior."""
        seen = self._plain.fields(image)
        aleatoric = seen.logits.contrast_covariance(self._basis)
        return of_terms(decompose(seen.logits.mean, torch.zeros_like(aleatoric), aleatoric))

    def sampled(self, image: UltrasoundImage) -> Output:
        """Heads drawn from the diagonal posterior, softmax averaged; no weight is touched."""
        features = self._plain.fields(image).features
        noise = torch.Generator().manual_seed(0)
        posterior = self.posteriors["diag"]
        heads = (posterior.weight + posterior.covariance.sample(HEADS, noise)).float()
        logits = torch.einsum("bdhw,ncd->nchw", features, heads[..., :-1])
        return of_passes((logits + heads[..., -1, None, None]).softmax(1))

    def with_dropout(self, image: UltrasoundImage) -> Output:
        """Dropout passes in the covariance, by total variance."""
        moments = self._plain.moments(image, OURS_PASSES)
        return of_terms(moments.decompose(self.temperature))

    def distance_aware(self, image: UltrasoundImage) -> Output:
        """The full posterior that sees the look of each pixel beside φ."""
        seen = self.predictor.fields(image)
        aware = replace(seen, features=with_looks(self.predictor, seen))
        return self._closed_form(aware, self._covariances["distance-aware"])

    def complete(self, image: UltrasoundImage) -> Output:
        """The product: full posterior, frozen encoder, calibrated scores."""
        checkpoint = self.predictor.checkpoint
        seen = self.predictor.fields(image)
        terms = self.predictor.moments_of(seen).decompose(self.temperature)
        maps = {**uncertainty_maps(terms), **unfamiliarity_map(seen, checkpoint.reference)}
        plain, signals = plain_scores(maps, terms), signals_of(seen, checkpoint.reference)
        derived = calibrated_scores(maps, plain, signals, checkpoint.calibration)
        probabilities = terms.probabilities[0].numpy()
        return Output(probabilities, maps, {**plain, **signals, **derived})

    def _laplace(self, name: str) -> Method:
        covariance = self._covariances[name]
        return lambda image: self._closed_form(self._plain.fields(image), covariance)

    def _closed_form(self, seen: Fields, covariance: Covariance) -> Output:
        epistemic = covariance.contrasts(seen.features) * seen.sector[:, :, None]
        aleatoric = seen.logits.contrast_covariance(self._basis)
        t = self.temperature
        return of_terms(decompose(seen.logits.mean / t, epistemic / t**2, aleatoric / t**2))
