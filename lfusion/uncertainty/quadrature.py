"""Deterministic nodes for expectations under a standard Gaussian.

Positive weights make the discretised expectation a true expectation over finitely many points,
so that Jensen's inequality, and with it every sign in the decomposition, holds exactly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc


@lru_cache
def gaussian_nodes(dim: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
