"""fit: the update rules of torch's optimizers, step by step, and how a run ends."""

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast import ReLUNetwork

WIDTHS = (9, 33, 17, 4)
RATES = {"adam": 1e-2, "adamw": 1e-2, "sgd": 0.05}


@pytest.fixture
def net(engine, dtype):
    return make(engine, dtype)


def make(engine, dtype):
    return ReLUNetwork.random(WIDTHS, seed=5, dtype=dtype, backend=engine.backend)


def batches(dtype, count, rows=32, seed=11):
    rng = np.random.default_rng(seed)
    return [
        (
            rng.standard_normal((rows, WIDTHS[0])).astype(dtype),
            rng.standard_normal((rows, WIDTHS[-1])).astype(dtype),
        )
        for _ in range(count)
    ]


def assert_same_weights(net, other, case):
    for layer, (weight, wanted) in enumerate(zip(net.weights, other.weights, strict=True)):
        assert_same_bits(weight, wanted, f"{case}: weights[{layer}]")


def torch_losses(torch, net, data, optimizer, rates, weight_decay):
    """The same network, data and rule in torch, in float64."""
    weights = [torch.tensor(w.astype(np.float64), requires_grad=True) for w in net.weights]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    rule = kinds[optimizer](weights, lr=rates[0], weight_decay=weight_decay)
    losses = []
    for rate, (x, target) in zip(rates, data, strict=True):
        rule.param_groups[0]["lr"] = rate
        hidden = torch.from_numpy(x.astype(np.float64))
        for layer, weight in enumerate(weights):
            hidden = torch.nn.functional.linear(hidden, weight)
            hidden = torch.relu(hidden) if layer < len(weights) - 1 else hidden
        loss = torch.nn.functional.mse_loss(hidden, torch.from_numpy(target.astype(np.float64)))
        rule.zero_grad()
        loss.backward()
        rule.step()
        losses.append(loss.item())
    return np.array(losses), [w.detach().numpy() for w in weights]


def test_the_loss_is_summed_in_double(engine, dtype, rng):
    """No square is rounded to float32: 16 at a time, and the 5 of each row that are left."""
    net = ReLUNetwork.random((9, 33, 37), seed=5, dtype=dtype, backend=engine.backend)
    x, target = (rng.standard_normal((7, columns)).astype(dtype) for columns in (9, 37))
    difference = (net(x) - target).astype(np.float64)
    found = homfast.fit(net, [(x, target)], learning_rate=0.0).loss[0]
    np.testing.assert_allclose(found, np.mean(difference**2), rtol=1e-14, err_msg=str(engine))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", RATES)
def test_losses_and_weights_are_torchs(engine, torch, net, dtype, optimizer, weight_decay):
    data, rate = batches(dtype, 50), RATES[optimizer]
    losses, weights = torch_losses(torch, net, data, optimizer, [rate] * 50, weight_decay)
    history = homfast.fit(
        net, data, optimizer=optimizer, learning_rate=rate, weight_decay=weight_decay
    )
    case = f"{engine} {dtype} {optimizer} weight_decay={weight_decay}"
    assert history.loss.dtype == np.float64 and history.loss.shape == (50,), case
    relative, absolute = (2e-4, 2e-4) if dtype == np.float32 else (1e-10, 1e-10)
    np.testing.assert_allclose(history.loss[:5], losses[:5], rtol=relative / 10, err_msg=case)
    np.testing.assert_allclose(history.loss, losses, rtol=relative, err_msg=case)
    for weight, wanted in zip(net.weights, weights, strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=relative, atol=absolute, err_msg=case)


def test_learning_rate_is_called_with_the_step(engine, torch, net, dtype):
    data, seen = batches(dtype, 20), []

    def rate(step):
        seen.append(step)
        return 1e-2 / (1 + step)

    losses, _ = torch_losses(
        torch, net, data, "adam", [1e-2 / (1 + step) for step in range(20)], 0.0
    )
    history = homfast.fit(net, data[:8], learning_rate=rate)
    more = homfast.fit(net, data[8:], learning_rate=rate, optimizer_state=history.optimizer_state)
    assert seen == list(range(20)), "counted from 0 over resumed runs"
    relative = 2e-4 if dtype == np.float32 else 1e-10
    together = np.concatenate([history.loss, more.loss])
    np.testing.assert_allclose(together, losses, rtol=relative, err_msg=f"{engine} {dtype}")


@pytest.mark.parametrize("optimizer", RATES)
def test_resuming_is_one_long_run_to_the_bit(engine, dtype, optimizer):
    data = batches(dtype, 20)
    options = {"optimizer": optimizer, "learning_rate": RATES[optimizer], "weight_decay": 0.01}
    long, parts = make(engine, dtype), make(engine, dtype)
    wanted = homfast.fit(long, data, **options)
    first = homfast.fit(parts, data[:7], **options)
    second = homfast.fit(parts, data[7:], optimizer_state=first.optimizer_state, **options)
    case = f"{engine} {dtype} {optimizer}"
    assert_same_bits(np.concatenate([first.loss, second.loss]), wanted.loss, case)
    assert_same_weights(parts, long, case)


@pytest.mark.parametrize("optimizer", RATES)
def test_resuming_leaves_the_earlier_history_alone(engine, dtype, optimizer):
    """So that one run can be continued in two ways."""
    data = batches(dtype, 10)
    options = {"optimizer": optimizer, "learning_rate": RATES[optimizer]}
    net = make(engine, dtype)
    first = homfast.fit(net, data[:5], **options)
    weights = [w.copy() for w in net.weights]
    results = []
    for _ in range(2):
        net.set_weights(weights)
        homfast.fit(net, data[5:], optimizer_state=first.optimizer_state, **options)
        results.append([w.copy() for w in net.weights])
    for one, two in zip(*results, strict=True):
        assert_same_bits(two, one, f"{engine} {dtype} {optimizer}: resumed twice from one history")


def test_training_is_the_same_in_every_run(engine, dtype):
    first, second = make(engine, dtype), make(engine, dtype)
    data = batches(dtype, 10, rows=200)
    assert_same_bits(
        homfast.fit(first, data, learning_rate=1e-2).loss,
        homfast.fit(second, data, learning_rate=1e-2).loss,
        f"{engine} {dtype}",
    )
    assert_same_weights(first, second, f"{engine} {dtype}")


def test_thread_count_does_not_change_training(bit_engine, dtype):
    data = batches(dtype, 5, rows=700)
    wanted = make(bit_engine, dtype)
    homfast.set_num_threads(1)
    loss = homfast.fit(wanted, data, learning_rate=1e-2).loss
    for threads in (2, 3, 5):
        homfast.set_num_threads(threads)
        net = make(bit_engine, dtype)
        history = homfast.fit(net, data, learning_rate=1e-2)
        assert_same_bits(history.loss, loss, f"{bit_engine} {dtype} {threads} threads")
        assert_same_weights(net, wanted, f"{bit_engine} {dtype} {threads} threads")


def test_it_learns(engine, dtype):
    """A student as wide as its teacher."""
    teacher = ReLUNetwork.random((8, 16, 3), seed=1, dtype=dtype, backend=engine.backend)
    student = ReLUNetwork.random((8, 64, 3), seed=2, dtype=dtype, backend=engine.backend)
    inputs = [x[:, :8].copy() for x, _ in batches(dtype, 400, rows=64)]
    history = homfast.fit(student, ((x, teacher(x)) for x in inputs), learning_rate=3e-3)
    assert history.loss[-20:].mean() < history.loss[:5].mean() / 20, f"{engine} {dtype}"
    assert repr(history).startswith("History(400 steps, last loss ")


def test_loss_is_the_mean_over_all_elements(engine, net, dtype):
    ((x, target),) = batches(dtype, 1)
    wanted = np.mean((net(x).astype(np.float64) - target) ** 2)
    loss = homfast.fit(net, [(x, target)], learning_rate=0.0).loss[0]
    assert loss == pytest.approx(wanted, rel=1e-6 if dtype == np.float32 else 1e-14)


def test_steps_takes_that_many_batches_and_no_more(engine, net, dtype):
    data = iter(batches(dtype, 10))
    assert len(homfast.fit(net, data, steps=4, learning_rate=1e-3).loss) == 4
    assert len(list(data)) == 6, "a batch was taken and not used"
    kept = [w.copy() for w in net.weights]
    history = homfast.fit(net, data, steps=0, learning_rate=1e-3)
    assert history.loss.shape == (0,) and history.optimizer_state["step"] == 0
    for weight, wanted in zip(net.weights, kept, strict=True):
        assert_same_bits(weight, wanted, "no steps")
    short = homfast.fit(net, batches(dtype, 3), steps=np.int64(9), learning_rate=1e-3)
    assert len(short.loss) == 3, "batches ended first"


def test_batches_of_changing_size_and_leading_axes(engine, net, dtype):
    other = make(engine, dtype)
    data = [pair for rows in (1, 40, 6) for pair in batches(dtype, 1, rows=rows)]
    shaped = [(x.reshape(1, -1, 9), target.reshape(1, -1, 4)) for x, target in data]
    homfast.fit(net, data, learning_rate=1e-2)
    homfast.fit(other, shaped, learning_rate=1e-2)
    assert_same_weights(net, other, f"{engine} {dtype}")


def test_batches_are_not_written_to(engine, net, dtype):
    ((x, target),) = batches(dtype, 1)
    kept = x.copy(), target.copy()
    x.flags.writeable = target.flags.writeable = False
    homfast.fit(net, [(x, target)] * 3, learning_rate=1e-2)
    assert_same_bits(x, kept[0], "input")
    assert_same_bits(target, kept[1], "target")


def test_one_layer_and_widths_of_zero(engine, dtype):
    for widths in ((9, 4), (9, 0, 4), (0, 4), (9, 0)):
        net = ReLUNetwork.random(widths, dtype=dtype, backend=engine.backend)
        x, target = np.ones((5, widths[0]), dtype), np.ones((5, widths[-1]), dtype)
        for optimizer in RATES:
            history = homfast.fit(net, [(x, target)] * 2, optimizer=optimizer, learning_rate=0.1)
            assert np.isfinite(history.loss).all(), f"{engine} {widths} {optimizer}"
