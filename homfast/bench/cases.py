"""The shapes that are measured, as data, and what each costs.

GFLOP/s count 2 m n k once for a product, whatever a target makes of it (six bf16 products, say);
the share of a matrix unit counts them all, where it is the unit that computes.
Bytes count each operand and each result once: the least that any implementation moves, hence the
intensity of a roofline plot.
"""

from __future__ import annotations

from typing import NamedTuple

# Sums of fewer terms, and plain weights at fewer rows, do without a matrix unit (README).
_LEAST_ON_UNIT = 16


class LayerCase(NamedTuple):
    """One layer: ``x (batch, in_features)``, ``weight (out_features, in_features)``."""

    batch: int
    in_features: int
    out_features: int

    @property
    def label(self) -> str:
        """The shape as tables name it."""
        return f"({self.batch}, {self.in_features}, {self.out_features})"

    def flops(self, direction: str) -> int:
        """Floating-point operations: one product forward, two backward."""
        products = {"forward": 1, "backward": 2}[direction]
        return products * 2 * self.batch * self.in_features * self.out_features

    def moved_bytes(self, direction: str, itemsize: int) -> int:
        """Bytes of operands and results; backward reads and writes x and weight shapes twice."""
        x = self.batch * self.in_features
        weight = self.in_features * self.out_features
        y = self.batch * self.out_features
        if direction == "forward":
            return itemsize * (x + weight + y)
        return itemsize * (2 * x + 2 * weight + y) + self.batch * ((self.out_features + 7) // 8)

    def on_matrix_unit(self, direction: str) -> bool:
        """Whether a target with a matrix unit computes all products on it."""
        terms = {"forward": self.in_features, "backward": self.out_features}[direction]
        return min(self.batch, terms) >= _LEAST_ON_UNIT


class NetworkCase(NamedTuple):
    """One network: ``x (batch, widths[0])`` through the layers ``widths``."""

    batch: int
    widths: tuple[int, ...]

    @property
    def label(self) -> str:
        """The shape as tables name it."""
        return f"{self.batch}, ({', '.join(map(str, self.widths))})"

    @property
    def weight_count(self) -> int:
        """Weights of all layers together."""
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    def flops(self, direction: str) -> int:
        """Operations: forward, forward with all gradients, or a training step.

        A training step needs no gradient of the network's input, so its first layer has two
        products instead of three. The optimizer's few operations a weight are not counted.
        """
        forward = 2 * self.batch * self.weight_count
        if direction == "forward":
            return forward
        if direction == "gradients":
            return 3 * forward
        if direction == "step":
            return 3 * forward - 2 * self.batch * self.widths[0] * self.widths[1]
        raise KeyError(direction)

    def moved_bytes(self, direction: str, itemsize: int) -> int:
        """Bytes of inputs, weights and results, hidden values counted as never leaving the cache.

        A training step also reads and writes both moments of Adam and the weights.
        """
        ends = self.batch * (self.widths[0] + self.widths[-1])
        per_weight = {"forward": 1, "gradients": 2, "step": 6}[direction]
        passes = {"forward": 1, "gradients": 2, "step": 1}[direction]
        return itemsize * (passes * ends + per_weight * self.weight_count)

    def on_matrix_unit(self, direction: str) -> bool:
        """Whether a target with a matrix unit computes all products on it."""
        terms = self.widths[:-1] if direction == "forward" else (self.batch, *self.widths)
        return min(terms) >= _LEAST_ON_UNIT


Case = LayerCase | NetworkCase

LAYERS = (
    LayerCase(1, 256, 1024),
    LayerCase(8, 64, 256),
    LayerCase(64, 64, 64),
    LayerCase(32, 256, 512),
    LayerCase(100, 300, 77),
    LayerCase(256, 256, 256),
    LayerCase(1024, 64, 256),
    LayerCase(1024, 256, 1024),
    LayerCase(4096, 512, 512),
    LayerCase(1024, 1024, 1024),
    LayerCase(4096, 1024, 1024),
    LayerCase(2048, 4096, 4096),
)

NETWORKS = (
    NetworkCase(1, (32, 128, 128, 64)),
    NetworkCase(64, (32, 128, 128, 64)),
    NetworkCase(256, (64, 256, 256, 128)),
    NetworkCase(1024, (128, 512, 512, 256)),
    NetworkCase(4096, (256, 1024, 1024, 512)),
    NetworkCase(1024, (1024, 4096, 4096, 2048)),
    NetworkCase(1, (1024, 4096, 4096, 2048)),
)

TRAINING = (
    NetworkCase(1024, (128, 512, 512, 256)),
    NetworkCase(256, (64, 256, 256, 128)),
)


# Fewer than 16 rows, where layer calls on plain arrays take another order unless told otherwise.
INVARIANCE = (
    LayerCase(1, 256, 1024),
    LayerCase(1, 64, 256),
    LayerCase(4, 64, 256),
    LayerCase(8, 64, 256),
    LayerCase(15, 300, 77),
    LayerCase(1, 1024, 1024),
    LayerCase(8, 512, 512),
    LayerCase(1, 4096, 4096),
)


def parse_layer(text: str) -> LayerCase:
    """A layer from ``batch,in,out``; ValueError says what was wanted."""
    sizes = _sizes(text)
    if len(sizes) != 3:
        raise ValueError(f"shapes: got {text!r}, wanted batch,in_features,out_features")
    return LayerCase(*sizes)


def parse_network(text: str) -> NetworkCase:
    """A network from ``batch,width,width,...``; ValueError says what was wanted."""
    sizes = _sizes(text)
    if len(sizes) < 3:
        raise ValueError(f"shapes: got {text!r}, wanted batch,width,width with two widths or more")
    return NetworkCase(sizes[0], tuple(sizes[1:]))


def shrink_layer(case: LayerCase, flops: int) -> LayerCase:
    """`case` with its largest sizes halved until a forward call costs at most `flops`."""
    sizes = list(case)
    while 2 * sizes[0] * sizes[1] * sizes[2] > flops and max(sizes) > 1:
        largest = sizes.index(max(sizes))
        sizes[largest] //= 2
    return LayerCase(*sizes)


def shrink_network(case: NetworkCase, flops: int) -> NetworkCase:
    """`case` with batch and widths halved until a forward call costs at most `flops`."""
    while case.flops("forward") > flops and max(case.batch, *case.widths) > 1:
        widths = tuple(max(w // 2, 1) for w in case.widths)
        case = NetworkCase(max(case.batch // 2, 1), widths)
    return case


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"shapes: got {text!r}, wanted integers such as 64,256,512") from None
    if min(sizes) < 1:
        raise ValueError(f"shapes: got {text!r}, wanted sizes of at least 1")
    return sizes
