"""What a line of ``homfast bench operators`` is made of: checked contenders of one product."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homfast.bench import ours
from homfast.bench.expected import WrongResult, arrays_of
from homfast.bench.interleaved import Contender
from homfast.bench.peers import PeerUnavailable

Call = Callable[[], Any]
Check = Callable[[str, Any], None]
# Peer to its module; the names are those of the distributions.
LIBRARIES = {
    "numpy": "numpy",
    "torch": "torch",
    "scipy": "scipy",
    "fht-cpu": "fht_cpu",
    "pylops": "pylops",
    "deepinv": "deepinv",
}


@dataclass(frozen=True)
class Comparison:
    """Checked contenders of one line, homfast first; ``absent`` tells why a peer is not there.

    ``moved_bytes`` is what any implementation reads and writes, where that bounds the time.
    """

    contenders: list[Contender]
    absent: dict[str, str] = field(default_factory=dict)
    moved_bytes: int | None = None


@dataclass(frozen=True)
class MemoryProbe:
    """A product on the fly whose memory is measured; see `operators_memory`."""

    family: str
    m: int
    n: int
    batch: int
    product: str


@dataclass(frozen=True)
class Task:
    """One line to be: its name, and how its contenders are made when its turn comes."""

    operator: str
    size: str
    product: str
    make: Callable[[Libraries], Comparison]
    memory: MemoryProbe | None = None

    @property
    def label(self) -> str:
        """The line's name."""
        return f"{self.operator}, {self.size}, {self.product}"


class Libraries:
    """The peers' libraries, imported; `absent` has by name why one is not.

    Parameters
    ----------
    names : sequence of str
        Some of `LIBRARIES`; the others take no part, without a word.

    Raises
    ------
    ValueError
        An unknown name.
    """

    def __init__(self, names: Sequence[str] = tuple(LIBRARIES)):
        self.modules: dict[str, Any] = {}
        self.absent: dict[str, str] = {}
        for name in names:
            if name not in LIBRARIES:
                raise ValueError(f"peers: got {name!r}, wanted some of {', '.join(LIBRARIES)}")
            try:
                self.modules[name] = importlib.import_module(LIBRARIES[name])
            except Exception as error:  # a binary that does not fit raises what it likes
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                self.absent[name] = f"cannot be imported ({first})"

    @property
    def versions(self) -> dict[str, str]:
        """By name, of those that are present."""
        return {name: importlib.metadata.version(name) for name in self.modules}

    def compared(
        self,
        own: Call,
        peers: Mapping[str, Callable[[Any], Call]],
        check: Check,
        *,
        moved_bytes: int | None = None,
    ) -> Comparison:
        """homfast's contender and the peers', each checked on one result.

        Parameters
        ----------
        own : callable
            The call of homfast.
        peers : mapping of str to callable
            By library, a function that makes the call from its module and may raise
            `PeerUnavailable`; or, by a name with "homfast" in it, another way of our own.
        check : callable
            ``check(name, result)`` raises `WrongResult`.
        moved_bytes : int, optional

        Raises
        ------
        WrongResult
            From `check`.
        """
        contenders, absent = [Contender(ours.name, own)], {}
        for name, make in peers.items():
            if name in self.absent:
                absent[name] = self.absent[name]
            elif name in self.modules or ours.name in name:
                try:
                    contenders.append(Contender(name, make(self.modules.get(name))))
                except PeerUnavailable as reason:
                    absent[name] = str(reason)
        for contender in contenders:
            check(contender.name, contender.result())
        return Comparison(contenders, absent, moved_bytes)


def scaled(size: int, scale: int, least: int = 1) -> int:
    """`size` divided by `scale`, at least `least`."""
    return max(least, size // scale)


def gamma(terms: int, dtype: Any = np.float32) -> float:
    """K u / (1 - K u), the bound of a sum of K products."""
    share = terms * float(np.finfo(dtype).eps) / 2
    return share / (1 - share)


def check_near(name: str, result: Any, wanted: np.ndarray, error: Any) -> None:
    """Raise WrongResult unless `result` has the shape of `wanted` and lies within `error` of it."""
    (found,) = arrays_of(result)
    if found.shape != wanted.shape:
        raise WrongResult(f"{name}: got shape {found.shape}, wanted {wanted.shape}")
    excess = np.abs(found - wanted) - error
    if not np.all(excess <= 0):
        worst = _worst(np.abs(found - wanted) / np.maximum(error, 1e-300))
        raise WrongResult(f"{name}: the error is {worst:.3g} times what roundings explain")


def check_rows_near(name: str, result: Any, wanted: np.ndarray, error: np.ndarray) -> None:
    """As `check_near`, in the 2-norm of each row; `error` is one bound a row."""
    (found,) = arrays_of(result)
    if found.shape != wanted.shape:
        raise WrongResult(f"{name}: got shape {found.shape}, wanted {wanted.shape}")
    distance = np.linalg.norm(found - wanted, axis=-1)
    if not np.all(distance <= error):
        worst = _worst(distance / error)
        raise WrongResult(f"{name}: the error is {worst:.3g} times what roundings explain")


def _worst(shares: np.ndarray) -> float:
    return float(np.nan_to_num(shares, nan=np.inf).max())
