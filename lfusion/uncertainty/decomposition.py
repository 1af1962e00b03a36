"""Where the uncertainty of a pixel comes from: one identity, three terms, all in nats.

H[E_θ E_η p] = I(y;θ) + E_θ I(y;η|θ) + E_θ E_η H[p]

The first term is what more labels would remove (epistemic); the other two, the ambiguity of the
logits and the residual entropy, stay (aleatoric). θ are the head's weights, η the logits of the
stochastic head given θ. Two more maps say how far the heads θ disagree without being parts of the
identity: the expected KL divergence between two of them and the variance of their probabilities
(Zepf et al., Laplacian segmentation networks, 2024, found both better than I(y;θ) for OOD).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.quadrature import Nodes, few_nodes, gaussian_nodes

PixelMap = Float[Tensor, "batch height width"]

_LOWEST = -60.0
"""Of a logit below the largest one; single precision has room for the product of two such."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The three terms [batch, height, width] in nats, the predictive mean, and the disagreement.

    With p_θ = E_η p, what one head predicts, and θ, θ′ two independent draws:

    Attributes:
        probabilities: E_θ E_η p [batch, classes, height, width].
        mutual_information: I(y;θ), epistemic.
        logit_ambiguity: E_θ I(y;η|θ).
        residual_entropy: E_θ E_η H[p].
        expected_pairwise_kl: E_θ E_θ′ KL(p_θ ‖ p_θ′) ≥ I(y;θ), nats; finite, because a probability
            counts as no closer to 0 than the rounding unit of its dtype.
        pixel_variance: Σ_c Var_θ[p_θc], at most 1 − 1/C.
    """

    probabilities: Float[Tensor, "batch classes height width"]
    mutual_information: PixelMap
    logit_ambiguity: PixelMap
    residual_entropy: PixelMap
    expected_pairwise_kl: PixelMap
    pixel_variance: PixelMap

    @property
    def expected_entropy(self) -> PixelMap:
        """E_θ H[E_η p], aleatoric: the part that no label removes."""
        return self.logit_ambiguity + self.residual_entropy

    @property
    def predictive_entropy(self) -> PixelMap:
        """H[E_θ E_η p], total."""
        return self.mutual_information + self.expected_entropy


def decompose(
    mean: Float[Tensor, "batch classes height width"],
    epistemic: Float[Tensor, "batch contrasts contrasts height width"],
    aleatoric: Float[Tensor, "batch contrasts contrasts height width"],
    *,
    theta_nodes: int | None = None,
    eta_nodes: int | None = None,
) -> Decomposition:
    """Decompose the predictive entropy of each pixel, without sampling.

    Both Gaussians are replaced by fixed nodes with positive weights (`quadrature`), the same η
    nodes for every θ node. Within that discrete model the identity and every sign are exact, and
    a posterior without variance gives an epistemic term of exactly zero.

    Args:
        mean: μ, MAP logits.
        epistemic: V between class contrasts (`posterior.contrast_covariance`).
        aleatoric: PPᵀ + diag(d) between class contrasts
            (`LogitDistribution.contrast_covariance`).
        theta_nodes: nodes over θ; by default 7 for two and three classes, 6 for four.
        eta_nodes: nodes over η; by default 9, 7 and 13. Above four classes 16 or 2 (C − 1) of each.

    Source:
        method.md §3; the quadrature is our own derivation.
    """
    classes = mean.shape[1]
    if classes == 2:
        theta, eta = (_nodes(1, n, mean) for n in (theta_nodes or 7, eta_nodes or 9))
        # z_1 − z_0 = −√2 Uᵀz
        scale = 2.0**0.5
        difference = mean[:, 1] - mean[:, 0]
        return _decompose_binary(
            difference,
            scale * epistemic[:, 0, 0].clamp_min(0).sqrt(),
            scale * aleatoric[:, 0, 0].clamp_min(0).sqrt(),
            theta,
            eta,
        )
    theta = _nodes_or(few_nodes(classes - 1, fine=False), theta_nodes, mean)
    eta = _nodes_or(few_nodes(classes - 1, fine=True), eta_nodes, mean)
    basis = contrast_basis(classes, mean)
    roots = [
        torch.einsum("bikhw,ci->bkchw", square_root(covariance), basis)
        for covariance in (epistemic, aleatoric)
    ]
    return _decompose_general(mean, roots[0], roots[1], theta, eta)


def _nodes(dim: int, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    nodes, weights = gaussian_nodes(dim, n)
    return torch.from_numpy(nodes).to(like), torch.from_numpy(weights).to(like)


def _nodes_or(few: Nodes, n: int | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the few nodes, or n others."""
    if n is not None:
        return _nodes(few[0].shape[1], n, like)
    return torch.from_numpy(few[0]).to(like), torch.from_numpy(few[1]).to(like)


def binary_entropy(p: Tensor) -> Tensor:
    """Return −p ln p − (1 − p) ln(1 − p), both halves, with 0 ln 0 = 0."""
    return -(_plogp(p) + _plogp(1 - p))


def _decompose_binary(
    difference: Tensor,
    epistemic_sd: Tensor,
    aleatoric_sd: Tensor,
    theta: tuple[Tensor, Tensor],
    eta: tuple[Tensor, Tensor],
) -> Decomposition:
    """Two classes: everything is a function of one logit difference z_1 − z_0."""
    eta_offsets = aleatoric_sd * eta[0].view(-1, *[1] * difference.dim())
    conditional, entropies, residuals = [], [], []
    for node in theta[0].flatten():
        logit = difference + epistemic_sd * node + eta_offsets
        p = torch.sigmoid(logit)
        conditional.append(torch.tensordot(eta[1], p, 1))
        entropies.append(binary_entropy(conditional[-1]))
        # H = ln(1 + e^z) − z p, finite for every z
        residual = torch.nn.functional.softplus(logit) - logit * p
        residuals.append(torch.tensordot(eta[1], residual, 1))
    probability = _mean(conditional, theta[1])
    smallest = torch.finfo(probability.dtype).eps
    # the second class deviates as the first, with the other sign: ln p − ln(1 − p), and twice
    kl, variance = _disagreement(
        conditional, probability, theta[1], lambda p: torch.logit(p, smallest)
    )
    return _from_parts(
        torch.stack((1 - probability, probability), 1),
        (binary_entropy(probability), _mean(entropies, theta[1]), _mean(residuals, theta[1])),
        (kl, 2 * variance),
    )


def _decompose_general(
    mean: Tensor,
    epistemic_root: Tensor,
    aleatoric_root: Tensor,
    theta: tuple[Tensor, Tensor],
    eta: tuple[Tensor, Tensor],
) -> Decomposition:
    """Any number of classes; a node times a root [B, C − 1, C, H, W] shifts the logits.

    The class axis stays second: softmax over a last axis of a few classes is thirty times slower.
    """
    offsets = _below_zero(_shifts(aleatoric_root, eta[0]))
    exponentials = offsets.exp()
    centres = _below_zero(mean + _shifts(epistemic_root, theta[0]))
    conditional, entropies, residuals = [], [], []
    for centre in centres:
        total, moment = torch.zeros_like(mean), torch.zeros_like(mean)
        residual = torch.zeros_like(mean[:, 0])
        exponential = centre.exp()
        # softmax(c + o) = eᶜeᵒ/S without an exponential of its own; H = ln S − Σ p (c + o)
        for offset, factor, weight in zip(offsets, exponentials, eta[1].tolist(), strict=True):
            p = exponential * factor
            scale = p.sum(1, keepdim=True)
            residual.add_(scale[:, 0].log(), alpha=weight)
            p.mul_(weight / scale)
            total.add_(p)
            moment.addcmul_(p, offset)
        conditional.append(total)
        entropies.append(entropy(total, 1))
        residuals.append(residual - moment.addcmul_(total, centre).sum(1))
    probability = _mean(conditional, theta[1])
    kl, variance = _disagreement(conditional, probability, theta[1], floored_log)
    return _from_parts(
        probability,
        (entropy(probability, 1), _mean(entropies, theta[1]), _mean(residuals, theta[1])),
        (kl.sum(1), variance.sum(1)),
    )


def entropy(probabilities: Tensor, dim: int) -> Tensor:
    """Return −Σ p ln p over one axis, in nats, with 0 ln 0 = 0."""
    return -_plogp(probabilities).sum(dim)


def _plogp(p: Tensor) -> Tensor:
    """Return p ln p with 0 ln 0 = 0; five times as fast as `xlogy`, which takes one at a time."""
    return p * p.clamp_min(torch.finfo(p.dtype).tiny).log()


def floored_log(probabilities: Tensor) -> Tensor:
    """Return ln p, where no p counts as less than the rounding unit of its dtype."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).eps).log()


def _mean(values: list[Tensor], weights: Tensor) -> Tensor:
    """Weighted mean, exact when all values are equal: deviations from the first are averaged."""
    first = values[0]
    out = torch.zeros_like(first)
    for value, weight in zip(values[1:], weights[1:], strict=True):
        out = out + weight * (value - first)
    return first + out


def _disagreement(
    conditional: list[Tensor], mean: Tensor, weights: Tensor, log: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return Cov_θ[p, log p], summed over classes the expected pairwise KL, and Var_θ[p].

    E_θ E_θ′ Σ_c p_θc (ln p_θc − ln p_θ′c) = Σ_c E_θ[(p_θc − E p_c) ln p_θc]: no pairs to visit.
    """
    kl, variance = torch.zeros_like(mean), torch.zeros_like(mean)
    for p, weight in zip(conditional, weights, strict=True):
        deviation = p - mean
        weighted = weight * deviation
        kl.addcmul_(weighted, log(p))
        variance.addcmul_(weighted, deviation)
    return kl, variance


def _from_parts(
    probabilities: Tensor,
    entropies: tuple[Tensor, Tensor, Tensor],
    disagreement: tuple[Tensor, Tensor],
) -> Decomposition:
    """Assemble H[E_θ E_η p], E_θ H[E_η p], E_θ E_η H[p], and the expected KL and the variance."""
    total, expected, residual = entropies
    kl, variance = disagreement
    # the differences and the covariance are ≥ 0 by Jensen; what is below is rounding
    return Decomposition(
        probabilities,
        (total - expected).clamp_min(0),
        (expected - residual).clamp_min(0),
        residual.clamp_min(0),
        kl.clamp_min(0),
        variance,
    )


def _shifts(root: Tensor, nodes: Tensor) -> Tensor:
    """Return each node times a root [B, C − 1, C, H, W]: [nodes, B, C, H, W]."""
    return torch.einsum("nk,bkchw->nbchw", nodes, root)


def _below_zero(logits: Tensor) -> Tensor:
    """Return the logits with their largest class at 0, and none so low that e^z vanishes."""
    return (logits - logits.amax(-3, keepdim=True)).clamp_min_(_LOWEST)


def square_root(covariance: Tensor) -> Tensor:
    """Return a lower triangular R [B, k, k, H, W] with R Rᵀ = covariance at each pixel.

    Cholesky's recursion over whole maps: LAPACK's batched routines take thirty times as long for
    matrices as small as these, and none of them accepts a singular one.
    """
    root = torch.zeros_like(covariance)
    for column in range(covariance.shape[1]):
        known = root[:, column, :column]
        variance = covariance[:, column, column]
        left = variance - known.square().sum(1)
        own = left > 8 * torch.finfo(left.dtype).eps * variance  # else what is left is rounding
        pivot = torch.where(own, left, 0).sqrt()
        inverse = torch.where(own, 1 / pivot, 0)
        root[:, column, column] = pivot
        for row in range(column + 1, covariance.shape[1]):
            rest = covariance[:, row, column] - (root[:, row, :column] * known).sum(1)
            root[:, row, column] = rest * inverse
    return root
