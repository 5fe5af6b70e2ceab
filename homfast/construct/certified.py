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
    certificate : NamedTuple or None
        The constants of the guarantee, or what was measured; each construction documents its own.
        They are of the weights as built: training the network makes them void, and one that was
        not built, but read from a file for instance, has None.
    """

    certificate: Any = None

    @classmethod
    def build(
        cls, weights: Iterable[np.ndarray], dtype: np.dtype, certificate: Any, name: str = "A"
    ) -> CertifiedNetwork:
        """Weights computed in float64, rounded once to `dtype`; see `rounded` for `name`."""
        net = cls(rounded(weights, dtype, name))
        net.certificate = certificate
        return net

    def to(self, like: Any) -> ReLUNetwork:
        """As of `ReLUNetwork`; the certificate is of weights of one dtype."""
        net = super().to(like)
        if net.dtype != self.dtype:
            vars(net)["certificate"] = None
        return net


def rounded(
    weights: Iterable[np.ndarray], dtype: np.dtype, name: str, what: str = "weight"
) -> list[np.ndarray]:
    """Weights in `dtype`; ValueError that blames `name` where one is not finite there."""
    cast = []
    for given in weights:
        with np.errstate(over="ignore"):  # said below, by name
            weight = np.asarray(given).astype(dtype)
        if not np.isfinite(weight).all():
            wanted = "other scales" if dtype == np.float64 else "float64, or other scales"
            raise ValueError(
                f"{name}: asks for a {what} of {np.abs(given).max():.3g}, beyond "
                f"{np.finfo(dtype).max:.3g}, the largest number of {np.dtype(dtype)}; wanted "
                f"{wanted}"
            )
        cast.append(weight)
    return cast


def pairs(matrix: np.ndarray) -> np.ndarray:
    """[V; -V]: with relu(t) - relu(-t) = t and relu(t) + relu(-t) = |t| it loses nothing."""
    return np.vstack([matrix, -matrix])


def differences(matrix: np.ndarray) -> np.ndarray:
    """[V, -V]: applied to the output of `pairs` units it is V applied to their input."""
    return np.hstack([matrix, -matrix])
