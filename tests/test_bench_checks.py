"""What a contender of ``homfast bench`` must return before it is timed."""

import numpy as np
import pytest

from homfast.bench import cases, compare, data, expected, layers, networks, peers, training


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [(3, 4096, 5), (2048, 7, 5), (5, 7, 2048)])
def test_exact_layers_are_exact_in_any_order(case, dtype):
    exact = data.exact_layer_data(cases.LayerCase(*case), dtype)
    wide = [array.astype(np.float64) for array in exact]
    for one, other in zip(
        expected.layer_backward(exact), expected.layer_backward(data.LayerData(*wide)), strict=True
    ):
        assert np.array_equal(one, other)
    assert np.array_equal(exact.y, np.maximum(wide[0] @ wide[1].T, 0))
    assert np.abs(exact.x).max() > 256  # more bits than bf16 has


def test_exact_networks_are_exact_in_any_order():
    case = cases.NetworkCase(64, (128, 512, 512, 256))
    exact = data.exact_network_data(case, "float32")
    wide = data.NetworkData(
        exact.x.astype(np.float64),
        [w.astype(np.float64) for w in exact.weights],
        exact.grad_output.astype(np.float64),
    )
    for one, other in zip(
        expected.network_gradients(exact), expected.network_gradients(wide), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("case", [(3, 4096, 5), (2048, 7, 5), (5, 7, 2048), (512, 256, 300)])
def test_narrow_layers_are_exact_in_bf16(case):
    exact = data.exact_layer_data(cases.LayerCase(*case), "float32", narrow=True)
    backward = expected.layer_backward(exact)
    for array in (*exact, *backward):
        assert np.abs(array).max() <= 256  # integers that bf16 holds
        assert np.any(array)


@pytest.mark.parametrize("batch", [1, 64, 2048])
def test_narrow_networks_are_exact_in_bf16(batch):
    case = cases.NetworkCase(batch, (128, 512, 512, 256))
    exact = data.exact_network_data(case, "float32", narrow=True)
    hidden = exact.x
    for weight in exact.weights[:-1]:
        hidden = np.maximum(hidden @ weight.T, 0)
        assert 1 < hidden.max() <= 256
    for array in expected.network_gradients(exact):
        assert np.abs(array).max() <= 256
        assert np.any(array)


def test_products_rounded_to_bf16_do_not_pass():
    exact = data.exact_layer_data(cases.LayerCase(8, 64, 16), "float32")
    rounded = (exact.x.view(np.uint32) & 0xFFFF0000).view(np.float32) @ exact.weight.T
    with pytest.raises(expected.WrongResult, match="differs from the reference"):
        expected.check_equal("cheat", np.maximum(rounded, 0), [exact.y])
    timed = data.network_data(cases.NetworkCase(8, (64, 32, 16)), "float32")
    cut = [(w.view(np.uint32) & 0xFFFF0000).view(np.float32) for w in timed.weights]
    output = np.maximum(timed.x @ cut[0].T, 0) @ cut[1].T
    with pytest.raises(expected.WrongResult, match="times the bound"):
        expected.check_forward("cheat", output, timed.x, timed.weights, last_linear=True)


def test_products_rounded_to_bf16_pass_as_medium_only():
    timed = data.layer_data(cases.LayerCase(8, 64, 32), "float32")
    cut = (timed.weight.view(np.uint32) & 0xFFFF0000).view(np.float32)
    output = np.maximum(timed.x @ cut.T, 0)
    expected.check_layer("rounded", output, timed, "medium")
    for precision in ("high", "highest"):
        with pytest.raises(expected.WrongResult, match="times the bound"):
            expected.check_layer("cheat", output, timed, precision)


def test_results_in_bf16_are_rounded_and_not_cut():
    pytest.importorskip("ml_dtypes")
    timed = data.layer_data(cases.LayerCase(8, 64, 32), "bfloat16")
    expected.check_layer("rounded", timed.y, timed, "highest")
    wide = np.maximum(timed.x.astype(np.float32) @ timed.weight.astype(np.float32).T, 0)
    cut = (wide.view(np.uint32) & 0xFFFF0000).view(np.float32).astype(timed.y.dtype)
    with pytest.raises(expected.WrongResult, match="times the bound of a product in bfloat16"):
        expected.check_layer("cut", cut, timed, "highest")


def test_a_nan_does_not_pass():
    timed = data.layer_data(cases.LayerCase(4, 8, 8), "float32")
    output = timed.y.copy()
    output[0, 0] = np.nan
    with pytest.raises(expected.WrongResult):
        expected.check_forward("bad", output, timed.x, [timed.weight], last_linear=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_every_contender_passes_its_checks(dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    names = [name for name in peers.NAMES if name != "torch.compile"]  # seconds a shape
    present, _ = peers.load_all(names)
    for direction in layers.DIRECTIONS:
        case = cases.LayerCase(9, 33, 17)
        found = layers.comparison(case, direction, dtype, present)
        assert [c.name for c in found.contenders][:2] == ["homfast", "numpy"]
    for direction in networks.DIRECTIONS:
        case = cases.NetworkCase(9, (33, 17, 20, 5))
        networks.comparison(case, direction, dtype, present)


@pytest.mark.parametrize("precision", [None, "high", "medium"])
def test_ours_passes_on_every_target(native_engine, precision):
    """With sums long enough for a matrix unit."""
    for direction in layers.DIRECTIONS:
        layers.comparison(cases.LayerCase(20, 40, 33), direction, "float32", [], precision)
    for direction in networks.DIRECTIONS:
        case = cases.NetworkCase(20, (33, 40, 20))
        networks.comparison(case, direction, "float32", [], precision)


def test_precision_reaches_our_calls_and_no_peer():
    seen = []
    timed = data.exact_layer_data(cases.LayerCase(4, 8, 8), "float32")
    compare.checked_twice(
        "layers_forward",
        cases.LayerCase(4, 8, 8),
        "forward",
        [peers.load("numpy")],
        "high",
        exact=timed,
        data=timed,
        reference=expected.layer_forward,
        check=lambda name, result, operands, precision: seen.append((name, precision)),
    )
    assert seen == [("homfast", "high"), ("numpy", "highest")]


def test_every_training_step_passes_its_check():
    names = [name for name in training.PEERS if name != "torch.compile"]
    present, _ = peers.load_all(names)
    case = cases.NetworkCase(9, (33, 17, 20, 5))
    found = training.comparison(case, "step", "float32", present)
    assert [c.name for c in found.contenders] == ["homfast", *(peer.name for peer in present)]
