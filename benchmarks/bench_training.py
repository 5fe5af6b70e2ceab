"""Training steps with Adam and the mean squared error, float32."""

import pytest

from homfast.bench import training


@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("peer", ["homfast", *training.PEERS])
def test_training_step(measure, case, peer):
    measure(training, case, "step", peer)
