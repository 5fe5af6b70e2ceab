"""Whole networks, forward and with all gradients, float32."""

import pytest

from homfast.bench import networks

FORWARD_PEERS = ("homfast", "numpy", "torch", "torch.compile", "jax", "onnxruntime")
FORWARD = [("forward", peer) for peer in FORWARD_PEERS]
GRADIENTS_PEERS = ("homfast", "numpy", "torch", "torch.autograd", "torch.compile", "jax")
GRADIENTS = [("gradients", peer) for peer in GRADIENTS_PEERS]


@pytest.mark.parametrize("case", networks.CASES, ids=lambda case: case.label)
@pytest.mark.parametrize(("direction", "peer"), FORWARD + GRADIENTS)
def test_network(measure, case, direction, peer):
    measure(networks, case, direction, peer)
