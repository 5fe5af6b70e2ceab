"""One layer with ReLU, forward and backward, float32."""

import pytest

from homfast.bench import layers

FORWARD = [("forward", peer) for peer in ("homfast", "numpy", "torch", "torch.compile")]
BACKWARD = [("backward", peer) for peer in ("homfast", "numpy", "torch", "torch.autograd")]


@pytest.mark.parametrize("case", layers.CASES, ids=lambda case: case.label)
@pytest.mark.parametrize(("direction", "peer"), FORWARD + BACKWARD)
def test_layer(measure, case, direction, peer):
    measure(layers, case, direction, peer)
