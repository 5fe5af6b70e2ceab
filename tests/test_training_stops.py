"""How fit ends when it cannot go on: non-finite losses, Ctrl-C, arguments that do not fit."""

import signal
import sys

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast import ReLUNetwork, _backends


@pytest.fixture
def net(engine, dtype):
    return ReLUNetwork.random((9, 33, 4), seed=5, dtype=dtype, backend=engine.backend)


@pytest.fixture
def data(dtype, rng):
    return [
        (rng.standard_normal((32, 9)).astype(dtype), rng.standard_normal((32, 4)).astype(dtype))
        for _ in range(8)
    ]


def assert_consistent(engine, net, x):
    """The packed weights are those that net.weights shows."""
    fresh = ReLUNetwork(net.weights, backend=engine.backend)
    assert_same_bits(net(x), fresh(x), f"{engine}: packed weights and net.weights disagree")


@pytest.mark.parametrize("where", ["input", "target"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floating_point_error_names_the_step(engine, net, data, where, value):
    x, target = (array.copy() for array in data[5])
    (x if where == "input" else target)[3, 2] = value
    data[5] = (x, target)
    wanted = ReLUNetwork(net.weights, backend=engine.backend)
    homfast.fit(wanted, data[:5], learning_rate=1e-2)
    with pytest.raises(FloatingPointError, match="step 5"):
        homfast.fit(net, data, learning_rate=1e-2)
    for weight, other in zip(net.weights, wanted.weights, strict=True):
        assert_same_bits(weight, other, f"{engine}: the update of step 5 was made")
    assert_consistent(engine, net, data[0][0])


@pytest.mark.parametrize("state", ["raise", "warn"])
def test_floating_point_error_in_every_numpy_error_state(engine, net, data, state):
    """NumPy's own warnings and errors do not come before ours."""
    for x, target in (
        (np.full_like(data[0][0], np.inf), data[0][1]),
        (np.full_like(data[0][0], 1e25), np.full_like(data[0][1], np.inf)),
        (np.full_like(data[0][0], np.finfo(net.dtype).max), data[0][1]),
    ):
        with np.errstate(all=state), pytest.raises(FloatingPointError, match="step 0"):
            homfast.fit(net, [(x, target)], learning_rate=1e-2)


def test_diverging_training_names_a_later_step(engine, net, data):
    with pytest.raises(FloatingPointError, match=r"step [1-9]\d*; lower the learning rate"):
        homfast.fit(net, data * 200, optimizer="sgd", learning_rate=1e3)


def test_the_step_counts_over_resumed_runs(engine, net, data):
    history = homfast.fit(net, data[:3], learning_rate=1e-2)
    bad = [(np.full_like(data[0][0], np.nan), data[0][1])]
    with pytest.raises(FloatingPointError, match="step 3"):
        homfast.fit(net, bad, learning_rate=1e-2, optimizer_state=history.optimizer_state)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, GeneratorExit])
def test_an_exception_in_the_batches_keeps_what_was_trained(engine, net, data, error):
    def interrupted():
        yield from data[:5]
        raise error("from the batches")

    wanted = ReLUNetwork(net.weights, backend=engine.backend)
    homfast.fit(wanted, data[:5], learning_rate=1e-2)
    with pytest.raises(error):
        homfast.fit(net, interrupted(), learning_rate=1e-2)
    for weight, other in zip(net.weights, wanted.weights, strict=True):
        assert_same_bits(weight, other, f"{engine}: as the last whole step made it")
    assert_consistent(engine, net, data[0][0])


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_ctrl_c_between_the_updates_of_two_layers(net, data, monkeypatch, backend):
    """It waits for the end of the step: the network is as the last whole one made it.

    Where a step is calls of Python; a native step updates all layers or none.
    """
    module = _backends.load(backend)
    if not module.is_available():
        pytest.skip(f"nothing ran on {backend}: {module.why_unavailable()}")
    net = ReLUNetwork(net.weights, backend=backend)
    wanted = ReLUNetwork(net.weights, backend=backend)
    homfast.fit(wanted, data[:2], learning_rate=1e-2)
    update, calls = module.adam_update, []

    def interrupted(*arguments):
        calls.append(len(calls))
        if len(calls) == 4:  # the second layer of the second step
            signal.raise_signal(signal.SIGINT)
        update(*arguments)

    monkeypatch.setattr(module, "adam_update", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        homfast.fit(net, data, learning_rate=1e-2)
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(calls) == 4
    for found, weight in zip(net.weights, wanted.weights, strict=True):
        assert_same_bits(found, weight, "two steps")
    assert_same_bits(net(data[0][0]), wanted(data[0][0]), "as its weights say")


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_an_error_between_the_updates_of_two_layers(net, data, monkeypatch, backend):
    """The network computes with the weights that it shows, also with those packed before."""
    module = _backends.load(backend)
    if not module.is_available():
        pytest.skip(f"nothing ran on {backend}: {module.why_unavailable()}")
    net = ReLUNetwork(net.weights, backend=backend)
    before, update, calls = net.weights[0].copy(), module.adam_update, []

    def failing(*arguments):
        calls.append(len(calls))
        if len(calls) == 2:
            raise MemoryError("in the second layer")
        update(*arguments)

    monkeypatch.setattr(module, "adam_update", failing)
    with pytest.raises(MemoryError, match="second layer"):
        homfast.fit(net, data, learning_rate=1e-2)
    assert (net.weights[0] != before).any()
    other = ReLUNetwork(net.weights, backend=backend)
    assert_same_bits(net(data[0][0]), other(data[0][0]), "as its weights say")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_an_update_that_overflows_is_an_error(engine, net, data, optimizer):
    huge = float(np.finfo(net.dtype).max)
    net = ReLUNetwork(net.weights, backend=engine.backend)
    batches = [(1e9 * x, t) for x, t in data[:1]]
    with pytest.raises(FloatingPointError, match="update of step 0; "), np.errstate(all="ignore"):
        homfast.fit(net, batches, optimizer=optimizer, learning_rate=huge)


@pytest.mark.parametrize("place", [(0, 0), (7, 0), (32, 8)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_one_weight_that_overflows_is_found_at_its_step(engine, data, optimizer, place):
    """No loss shows a unit that minus infinity turns off; the step after it would not notice."""
    dtype = data[0][0].dtype
    first = np.zeros((33, 9), dtype)
    first[place] = -np.inf
    net = ReLUNetwork([first, np.zeros((4, 33), dtype)], backend=engine.backend)
    x = np.abs(data[0][0]) + dtype.type(1)
    with pytest.raises(FloatingPointError, match="update of step 0; "), np.errstate(all="ignore"):
        homfast.fit(net, [(x, data[0][1])] * 3, optimizer=optimizer, learning_rate=1e-2)


def test_a_second_moment_that_overflows_is_an_error(engine, data):
    """Its weight would never move again, and no loss would tell."""
    dtype = data[0][0].dtype
    net = ReLUNetwork([np.eye(4, 9, dtype=dtype)], backend=engine.backend)
    scale = dtype.type(np.sqrt(np.finfo(dtype).max) / 16)
    x, target = scale * np.sign(data[0][0]), np.zeros((len(data[0][0]), 4), dtype)
    with pytest.raises(FloatingPointError, match="update of step 0; "), np.errstate(all="ignore"):
        homfast.fit(net, [(x, target)], learning_rate=1e-3)


@pytest.mark.parametrize("step", [-3, 1.5, "x", True, None])
def test_a_state_without_a_step_number_is_refused(net, data, step):
    state = homfast.fit(net, data[:1], learning_rate=1e-3).optimizer_state
    with pytest.raises(ValueError, match="optimizer_state: step"):
        homfast.fit(net, data, learning_rate=1e-3, optimizer_state={**state, "step": step})


def test_closures_made_while_training_are_stale(engine, net, data):
    made = []

    def watched():
        for x, target in data[:2]:
            made.append(net.vjp(x)[1])
            yield x, target

    homfast.fit(net, watched(), learning_rate=1e-2)
    for vjp in made:
        with pytest.raises(RuntimeError, match="vjp"):
            vjp(np.ones((32, 4), net.dtype))


X, TARGET = np.ones((6, 9), np.float32), np.ones((6, 4), np.float32)


@pytest.mark.parametrize(
    ("batch", "error", "name"),
    [
        (X, TypeError, "batches"),
        ((X,), TypeError, "batches"),
        ((X, TARGET, TARGET), TypeError, "batches"),
        (None, TypeError, "batches"),
        (7, TypeError, "batches"),
        ((X[:, :5], TARGET), ValueError, "input"),
        ((X, TARGET[:, :3]), ValueError, "target"),
        ((X, TARGET[:3]), ValueError, "target"),
        ((X, TARGET[0]), ValueError, "target"),
        ((X.astype(np.float64), TARGET), TypeError, "input"),
        ((X, TARGET.astype(np.float64)), TypeError, "target"),
        ((X, TARGET.astype(int)), TypeError, "target"),
        ((X.tolist(), TARGET), TypeError, "input"),
        ((X, np.ma.masked_array(TARGET)), TypeError, "target"),
        ((X, None), TypeError, "target"),
    ],
)
def test_bad_batches(engine, batch, error, name):
    net = ReLUNetwork.random((9, 33, 4), backend=engine.backend)
    kept = [w.copy() for w in net.weights]
    with pytest.raises(error, match=f"^{name}: "):
        homfast.fit(net, [batch], learning_rate=1e-2)
    for weight, wanted in zip(net.weights, kept, strict=True):
        assert_same_bits(weight, wanted, "weights after a refused batch")


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"optimizer": "rmsprop"}, ValueError, "optimizer"),
        ({"optimizer": None}, ValueError, "optimizer"),
        ({"steps": -1}, ValueError, "steps"),
        ({"steps": 2.5}, ValueError, "steps"),
        ({"steps": "3"}, ValueError, "steps"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay"),
        ({"weight_decay": np.nan}, ValueError, "weight_decay"),
        ({"weight_decay": np.inf}, ValueError, "weight_decay"),
        ({"weight_decay": "0.1"}, TypeError, "weight_decay"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate"),
        ({"learning_rate": np.inf}, ValueError, "learning_rate"),
        ({"learning_rate": -1e-3}, ValueError, "learning_rate"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate"),
        ({"learning_rate": None}, TypeError, "learning_rate"),
        ({"learning_rate": 1e300}, ValueError, "learning_rate"),  # infinite in float32
        ({"learning_rate": 10**400}, ValueError, "learning_rate"),
        ({"learning_rate": True}, TypeError, "learning_rate"),
        ({"learning_rate": lambda step: 1e300}, ValueError, "learning_rate"),
        ({"weight_decay": 1e300}, ValueError, "weight_decay"),
        ({"weight_decay": False}, TypeError, "weight_decay"),
        ({"progress": "yes"}, TypeError, "progress"),
        ({"learning_rate": lambda step: np.nan}, ValueError, "learning_rate"),
        ({"learning_rate": lambda step: "fast"}, TypeError, "learning_rate"),
        ({"optimizer_state": []}, TypeError, "optimizer_state"),
        ({"optimizer_state": {}}, TypeError, "optimizer_state"),
        ({"optimizer_state": {"optimizer": "sgd", "step": 3}}, ValueError, "optimizer_state"),
        ({"optimizer_state": {"optimizer": "adam", "step": 3}}, ValueError, "optimizer_state"),
    ],
)
def test_bad_options(engine, options, error, name):
    net = ReLUNetwork.random((9, 33, 4), backend=engine.backend)
    kept = [w.copy() for w in net.weights]
    with pytest.raises(error, match=f"^{name}: "):
        homfast.fit(net, [(X, TARGET)], **{"learning_rate": 1e-2, **options})
    for weight, wanted in zip(net.weights, kept, strict=True):
        assert_same_bits(weight, wanted, f"weights after refused {options}")


def test_bad_net_and_bad_iterables(engine):
    net = ReLUNetwork.random((9, 33, 4), backend=engine.backend)
    with pytest.raises(TypeError, match=r"^net: "):
        homfast.fit(net.weights, [(X, TARGET)], learning_rate=1e-2)
    for batches in (5, None):
        with pytest.raises(TypeError, match=r"^batches: "):
            homfast.fit(net, batches, learning_rate=1e-2)


def test_state_of_another_network_is_refused(engine, net, data):
    other = ReLUNetwork.random((9, 32, 4), dtype=net.dtype, backend=engine.backend)
    state = homfast.fit(other, data[:1], learning_rate=1e-2).optimizer_state
    with pytest.raises(ValueError, match=r"^optimizer_state: "):
        homfast.fit(net, data, learning_rate=1e-2, optimizer_state=state)


def test_progress_is_silent_in_a_pipe(engine, net, data, capsys):
    homfast.fit(net, data, learning_rate=1e-2, progress=True)
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == ""


def test_progress_shows_on_a_terminal(engine, net, data, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    homfast.fit(net, data, steps=8, learning_rate=1e-2, progress=True)
    printed = capsys.readouterr()
    assert printed.out == "" and "8/8" in printed.err
