"""Networks that carry what is proved of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from homfast.network import ReLUNetwork


class CertifiedNetwork(ReLUNetwork):
    """A `ReLUNetwork` and what its construction proves of it.

    Attributes
    ----------
    certificate : NamedTuple
        The constants of the guarantee, or what was measured; each construction documents its own.
        They are of the weights as built: training the network makes them void.
    """

    certificate: Any

    @classmethod
    def build(
        cls, weights: Iterable[np.ndarray], dtype: np.dtype, certificate: Any
    ) -> CertifiedNetwork:
        """Weights computed in float64, rounded once to `dtype`."""
        net = cls([np.asarray(w).astype(dtype) for w in weights])
        net.certificate = certificate
        return net

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: as the base, and the certificate."""
        return _rebuild, (super().__reduce__(), self.certificate)


def _rebuild(base: tuple[Any, ...], certificate: Any) -> CertifiedNetwork:
    _, (weights, slope, precision, backend) = base
    net = CertifiedNetwork(weights, negative_slope=slope, precision=precision, backend=backend)
    net.certificate = certificate
    return net


def pairs(matrix: np.ndarray) -> np.ndarray:
    """[V; -V]: with relu(t) - relu(-t) = t and relu(t) + relu(-t) = |t| it loses nothing."""
    return np.vstack([matrix, -matrix])


def differences(matrix: np.ndarray) -> np.ndarray:
    """[V, -V]: applied to the output of `pairs` units it is V applied to their input."""
    return np.hstack([matrix, -matrix])
