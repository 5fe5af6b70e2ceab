"""f(2^k x) == 2^k f(x) to the bit, forward and backward (contract, 3).

As long as nothing overflows or goes denormal: the data are of moderate exponents, |k| <= 40.
"""

import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast
from homfast import ReLUNetwork
from homfast.selftesting.scaling import check_powers, moderate, scaled

POWERS = [*range(-40, 41, 8), -1, 1, 3]
SHAPES = [(1, 1, 1), (3, 5, 7), (20, 17, 33), (33, 64, 31), (7, 130, 9), (16, 300, 5),
          (100, 257, 77)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_layers(engine, dtype, rng, shape, slope):
    rows, features, columns = shape
    x, weight = moderate(rng, (rows, features), dtype), moderate(rng, (columns, features), dtype)
    options = {"negative_slope": slope, "backend": engine.backend}
    y = homfast.linear(x, weight, backend=engine.backend)
    z, mask = homfast.linear_relu(x, weight, return_mask=True, **options)
    for power in POWERS:
        case = f"{engine} {dtype} {shape} slope={slope} 2^{power}"
        for left, right in ((scaled(x, power), weight), (x, scaled(weight, power))):
            result = homfast.linear(left, right, backend=engine.backend)
            assert_same_bits(result, scaled(y, power), f"linear {case}")
            result, bits = homfast.linear_relu(left, right, return_mask=True, **options)
            assert_same_bits(result, scaled(z, power), f"linear_relu {case}")
            assert_same_bits(bits, mask, f"mask {case}")
        both = homfast.linear(scaled(x, power), scaled(weight, -power), backend=engine.backend)
        assert_same_bits(both, y, f"linear {case} and its inverse in weight")


@pytest.mark.parametrize("shape", SHAPES)
def test_one_row_and_one_unit(engine, dtype, rng, shape):
    """Each row and each unit has its own scale."""
    rows, features, columns = shape
    x, weight = moderate(rng, (rows, features), dtype), moderate(rng, (columns, features), dtype)
    of_rows = rng.integers(-40, 41, (rows, 1))
    of_units = rng.integers(-20, 21, columns)
    wanted = np.ldexp(homfast.linear(x, weight, backend=engine.backend), of_rows + of_units)
    y = homfast.linear(
        np.ldexp(x, of_rows).astype(dtype),
        np.ldexp(weight, of_units[:, None]).astype(dtype),
        backend=engine.backend,
    )
    assert_same_bits(y, wanted.astype(dtype), f"{engine} {dtype} {shape}")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_layer_gradients(engine, dtype, rng, shape, slope):
    rows, features, columns = shape
    x, weight = moderate(rng, (rows, features), dtype), moderate(rng, (columns, features), dtype)
    grad, mask = moderate(rng, (rows, columns), dtype), pack(rng.random((rows, columns)) < 0.5)
    options = {"negative_slope": slope, "backend": engine.backend}

    def backward(grad, x, weight):
        return homfast.linear_relu_backward(grad, x, weight, mask, **options)

    grad_input, grad_weight = backward(grad, x, weight)
    for power in POWERS:
        case = f"{engine} {dtype} {shape} slope={slope} 2^{power}"
        of_input, of_weight = backward(scaled(grad, power), x, weight)
        assert_same_bits(of_input, scaled(grad_input, power), f"grad_input, grad by {case}")
        assert_same_bits(of_weight, scaled(grad_weight, power), f"grad_weight, grad by {case}")
        of_input, of_weight = backward(grad, scaled(x, power), weight)
        assert_same_bits(of_input, grad_input, f"grad_input, x by {case}")
        assert_same_bits(of_weight, scaled(grad_weight, power), f"grad_weight, x by {case}")
        of_input, of_weight = backward(grad, x, scaled(weight, power))
        assert_same_bits(of_input, scaled(grad_input, power), f"grad_input, weight by {case}")
        assert_same_bits(of_weight, grad_weight, f"grad_weight, weight by {case}")


@pytest.mark.parametrize("widths", [(1, 1), (17, 33, 9, 4), (64, 100, 65, 31, 7), (9, 130, 1)])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_networks(engine, dtype, rng, widths, slope):
    check_powers(engine, dtype, rng, 21, list(widths), slope, POWERS)


def test_scaling_one_layer_of_a_network(engine, dtype, rng):
    """W_l by 2^k: f by 2^k, dW_l as it was, the other gradients by 2^k."""
    net = ReLUNetwork.random((17, 33, 9, 4), seed=4, dtype=dtype, backend=engine.backend)
    x, u = moderate(rng, (21, 17), dtype), moderate(rng, (21, 4), dtype)
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(u)
    for layer in range(3):
        for power in POWERS:
            weights = [scaled(w, power if i == layer else 0) for i, w in enumerate(net.weights)]
            same, pull = ReLUNetwork(weights, backend=engine.backend).vjp(x)
            of_input, of_weights = pull(u)
            case = f"{engine} {dtype} weights[{layer}] by 2^{power}"
            assert_same_bits(same, scaled(y, power), f"f {case}")
            assert_same_bits(of_input, scaled(grad_input, power), f"grad_input {case}")
            for other in range(3):
                wanted = scaled(grad_weights[other], 0 if other == layer else power)
                assert_same_bits(of_weights[other], wanted, f"grad_weights[{other}] {case}")
