"""Data turned in space: exact answers for correlated coordinates.

Noise looks the same from every side, so turning the data turns every answer with it. Stands on `data`. Read `law` next: what a sampler
makes of Gaussian data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_batch, like
from minidiff.diffusion.exact.data import ExactData

__all__ = ["Rotated"]


class Rotated(ExactData):
    """x_0 = y_0 R for known data y_0 (a Gaussian, a Mixture ...), and so x = y R: score and start turn with it, the density stays.

    A Gaussian with covariance C = R^T diag(std^2) R, of eigenvalues std^2 and eigenvectors the rows of R, is Rotated(Gaussian(std=std), R).
    data: of shape (D,). rotation: (D, D), orthogonal. Raises ValueError for another matrix.
    """

    def __init__(self, data: ExactData, rotation: Any) -> None:
        self.data, self.rotation = data, np.asarray(rotation, dtype=np.float64)
        if not isinstance(data, ExactData):
            raise TypeError(f"Rotated: expected exactly known data, such as Gaussian(...), got {data!r}")
        shape = self.rotation.shape
        square = len(shape) == 2 and shape[0] == shape[1]
        if not square or not np.allclose(self.rotation @ self.rotation.T, np.eye(len(self.rotation)), rtol=0, atol=1e-9):
            raise ValueError(f"Rotated: expected an orthogonal matrix, whose transpose is its inverse, got shape {shape}")

    def start(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """E[y_0 | x R^T] R."""
        return self._turned(self.data.start(self._back(x), alpha, sigma))

    def score(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """The score of y at x R^T, turned by R."""
        return self._turned(self.data.score(self._back(x), alpha, sigma))

    def log_prob(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log q_y(x R^T)."""
        return self.data.log_prob(self._back(x), alpha, sigma)

    def sample(self, count: int, generator: Any) -> Any:
        """y_0 R: (count, D), float64."""
        return self._turned(self.data.sample(count, generator))

    def _turned(self, y: Any) -> Any:
        return y @ like(self.rotation, y)

    def _back(self, x: Any) -> Any:
        check_batch("Rotated", x)
        if tuple(x.shape[1:]) != (len(self.rotation),):
            raise ValueError(f"Rotated: the data has shape ({len(self.rotation)},), got x of shape {tuple(x.shape)}")
        return x @ like(self.rotation.T, x)
