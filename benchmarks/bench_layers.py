"""One layer with ReLU, forward and backward, float32."""

import pytest

from homfast.bench import layers

FORWARD_PEERS = ("homfast", "numpy", "torch", "torch.compile", "jax", "onnxruntime")
FORWARD = [("forward", peer) for peer in FORWARD_PEERS]
BACKWARD_PEERS = ("homfast", "numpy", "torch", "torch.autograd", "torch.compile", "jax")
BACKWARD = [("backward", peer) for peer in BACKWARD_PEERS]


@pytest.mark.parametrize("case", layers.CASES, ids=lambda case: case.label)
@pytest.mark.parametrize(("direction", "peer"), FORWARD + BACKWARD)
def test_layer(measure, case, direction, peer):
    measure(layers, case, direction, peer)
