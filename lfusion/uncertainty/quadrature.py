"""Deterministic nodes for expectations under a standard Gaussian.

Positive weights make the discretised expectation a true expectation over finitely many points,
so that Jensen's inequality, and with it every sign in the decomposition, holds exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

Nodes: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Nodes [n, dim] and weights [n]."""


@lru_cache
def gaussian_nodes(dim: int, n: int) -> Nodes:
    """Return nodes [n, dim] and weights [n] for N(0, I), the heaviest node first.

    One dimension: Gauss-Hermite with n nodes. More: n points of a Sobol sequence through the
    inverse normal distribution function, in antithetic pairs, whitened so that mean and
    covariance are exact.

    Args:
        dim: ≥ 1.
        n: number of nodes; even and ≥ 2·dim when dim > 1.
    """
    if dim == 1:
        nodes, weights = hermegauss(n)  # type: ignore[no-untyped-call]
        order = np.argsort(-weights, kind="stable")
        return nodes[order, None], weights[order] / weights.sum()
    if n % 2 or n < 2 * dim:
        raise ValueError(f"expected an even number of nodes of at least {2 * dim}, got {n}")
    # a fixed, unscrambled sequence; its first point is the origin's corner and is left out
    uniform = qmc.Sobol(dim, scramble=False).random_base2(int(np.ceil(np.log2(n // 2 + 1))))
    half = ndtri(uniform[1 : n // 2 + 1])
    points = np.concatenate((half, -half))
    whitener = np.linalg.inv(np.linalg.cholesky(points.T @ points / n))
    return points @ whitener.T, np.full(n, 1 / n)


@lru_cache
def few_nodes(dim: int, *, fine: bool) -> Nodes:
    """Return the fewest nodes that do for N(0, I) in two or more dimensions.

    Args:
        dim: ≥ 2.
        fine: exact for polynomials up to degree 5 in two and three dimensions, by the origin and
            a hexagon or an icosahedron around it; else up to degree 3 from three dimensions on, by
            the points ±√dim on each axis. In more dimensions `gaussian_nodes`, fine or not.

    Source:
        A. H. Stroud, Approximate calculation of multiple integrals, 1971: a regular polytope's
        vertices and its centre.
    """
    if dim == 2:
        angles = np.arange(6) * np.pi / 3
        return _star(np.stack((np.cos(angles), np.sin(angles)), 1))
    if dim == 3 and fine:
        golden = (1 + 5**0.5) / 2
        corners = [(0.0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
        return _star(np.concatenate([np.roll(corners, turn, 1) for turn in range(3)]))
    if dim == 3:
        axes = np.eye(dim) * dim**0.5
        return np.concatenate((axes, -axes)), np.full(2 * dim, 1 / (2 * dim))
    return gaussian_nodes(dim, max(16, 2 * dim))


def _star(corners: NDArray[np.float64]) -> Nodes:
    """Return the origin and the corners on the sphere that makes the fourth moments those of N."""
    dim = corners.shape[1]
    radius = (dim + 2) ** 0.5
    unit = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    centre = 2 / (dim + 2)
    weights = np.full(len(corners), (1 - centre) / len(corners))
    return np.concatenate((np.zeros((1, dim)), radius * unit)), np.append(centre, weights)
