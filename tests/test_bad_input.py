"""Every wrong input is a named error, never a crash and never silent (contract, 7).

ValueError for shapes, TypeError for dtypes and devices; the message begins with the name of the
argument.
"""

import numpy as np
import pytest
from engines import NATIVE_ENGINES

import homfast

X, WEIGHT = np.ones((6, 5), np.float32), np.ones((4, 5), np.float32)
GRAD, MASK = np.ones((6, 4), np.float32), np.full((6, 1), 255, np.uint8)


@pytest.fixture(params=[None, "reference", *["native"] * bool(NATIVE_ENGINES)], ids=str)
def backend(request):
    """None is the call without backend=, which has a shorter way to the kernels."""
    return request.param


class Nothing:
    """An object that is no array."""


class OnDevice:
    """What a tensor on a CUDA device looks like to DLPack."""

    dtype = "float32"

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        raise AssertionError("asked for memory on another device")


READ_ONLY = np.ones((6, 4), np.float32)
READ_ONLY.flags.writeable = False

# What cannot be an array of numbers here, whichever argument it is.
NOT_ARRAYS = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a),
    "number": lambda a: 3.0,
    "string": lambda a: "x",
    "bytes": lambda a: a.tobytes(),
    "object": lambda a: Nothing(),
    "on a device": lambda a: OnDevice(),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "complex": lambda a: a.astype(np.complex64),
    "int64": lambda a: a.astype(np.int64),
    "bool": lambda a: a.astype(bool),
    "object dtype": lambda a: a.astype(object),
    "string dtype": lambda a: a.astype("U4"),
    "datetime": lambda a: a.astype("M8[s]"),
    "record": lambda a: a.view([("f", "f4")]),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "masked": lambda a: np.ma.masked_array(a, mask=a > 2),
    "the other dtype": lambda a: a.astype(np.float64),
}


def calls(backend):
    """Each argument that is an array, with a call that takes it."""

    def backward(grad, x, weight):
        return homfast.linear_relu_backward(grad, x, weight, MASK, backend=backend)

    return {
        ("linear", "x"): (X, lambda a: homfast.linear(a, WEIGHT, backend=backend)),
        ("linear", "weight"): (WEIGHT, lambda a: homfast.linear(X, a, backend=backend)),
        ("linear_relu", "x"): (X, lambda a: homfast.linear_relu(a, WEIGHT, backend=backend)),
        ("linear_relu", "weight"): (WEIGHT, lambda a: homfast.linear_relu(X, a, backend=backend)),
        ("linear", "out"): (GRAD, lambda a: homfast.linear(X, WEIGHT, out=a, backend=backend)),
        ("backward", "grad_output"): (GRAD, lambda a: backward(a, X, WEIGHT)),
        ("backward", "x"): (X, lambda a: backward(GRAD, a, WEIGHT)),
        ("backward", "weight"): (WEIGHT, lambda a: backward(GRAD, X, a)),
    }


ARGUMENTS = ["linear x", "linear weight", "linear out", "linear_relu x", "linear_relu weight",
             "backward grad_output", "backward x", "backward weight"]  # fmt: skip


@pytest.mark.parametrize("kind", NOT_ARRAYS)
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_wrong_kinds(backend, argument, kind):
    name = argument.split()[1]
    good, call = calls(backend)[tuple(argument.split())]
    call(good.copy())
    # Of two dtypes either may be the wrong one, so either name will do.
    wanted = r"^\w+: got (dtype )?float" if kind == "the other dtype" else f"^{name}: got "
    with pytest.raises(TypeError, match=wanted):
        call(NOT_ARRAYS[kind](good))


def test_the_fix_is_named(backend):
    for kind, fix in {
        "list": r"np\.asarray\(x, dtype=np\.float32\)",
        "float16": r"x\.astype\(np\.float32\)",
        "byte-swapped": r"x\.astype\(np\.float32\)",
        "masked": r"x\.filled\(0\)",
        "on a device": "move it",
    }.items():
        with pytest.raises(TypeError, match=fix):
            homfast.linear(NOT_ARRAYS[kind](X), WEIGHT, backend=backend)
    for kind in ("list", "string", "bytes"):
        with pytest.raises(
            TypeError, match=r"uint8; convert with np\.asarray\(mask, dtype=np\.uint8"
        ):
            mask = NOT_ARRAYS[kind](MASK)
            homfast.linear_relu_backward(GRAD, X, WEIGHT, mask, backend=backend)


def test_the_fix_for_a_tensor_is_a_tensors(backend):
    torch = pytest.importorskip("torch")
    x, weight = torch.from_numpy(X), torch.from_numpy(WEIGHT)
    with pytest.raises(TypeError, match=r"pass x\.to\(torch\.float32\) if that loses nothing"):
        homfast.linear(x.half(), weight, backend=backend)
    with pytest.raises(TypeError, match=r"of tensors weight\.to\(x\.dtype\)"):
        homfast.linear(x, weight.double(), backend=backend)
    with pytest.raises(ValueError, match="out: got an array whose elements lie over"):
        homfast.linear(x, weight, out=torch.zeros(4).expand(x.shape[0], 4), backend=backend)


FORWARD_SHAPES = [
    ("x", X[0, 0].reshape(()), WEIGHT, None),
    ("x", X[:, :4], WEIGHT, None),
    ("x", X[:, :0], WEIGHT, None),
    ("x", X.T, WEIGHT, None),
    ("x", X[None, :, :4], WEIGHT, None),
    ("weight", X, WEIGHT[0], None),
    ("weight", X, WEIGHT[None], None),
    ("weight", X, WEIGHT[0, 0].reshape(()), None),
    ("out", X, WEIGHT, GRAD[:5]),
    ("out", X, WEIGHT, GRAD[:, :3]),
    ("out", X, WEIGHT, GRAD.T),
    ("out", X, WEIGHT, GRAD[None]),
    ("out", X, WEIGHT, GRAD.ravel()),
    ("out", X[0], WEIGHT, GRAD[:1]),
    ("out", X, WEIGHT, READ_ONLY),
    ("out", X, WEIGHT, np.broadcast_to(np.float32(0), (6, 4))),
]


@pytest.mark.parametrize(("name", "x", "weight", "out"), FORWARD_SHAPES)
def test_wrong_shapes_forward(backend, name, x, weight, out):
    for call in (homfast.linear, homfast.linear_relu):
        with pytest.raises(ValueError, match=rf"^{name}: got .*wanted"):
            call(x, weight, out=out, backend=backend)


def test_a_transposed_weight_is_recognised(backend):
    with pytest.raises(ValueError, match=r"pass weight\.T"):
        homfast.linear(X, WEIGHT.T, backend=backend)
    with pytest.raises(ValueError, match=r"\(6, 4\)") as caught:
        homfast.linear(GRAD, np.ones((7, 5), np.float32), backend=backend)
    assert "weight.T" not in str(caught.value), "neither way round fits"


BACKWARD_SHAPES = [
    ("grad_output", GRAD[0, 0].reshape(()), X, WEIGHT, None),
    ("weight", GRAD, X, WEIGHT[:3], MASK),
    ("weight", GRAD, X, WEIGHT.T, MASK),
    ("weight", GRAD, None, WEIGHT[0], MASK),
    ("x", GRAD, X[:5], WEIGHT, MASK),
    ("x", GRAD, X[:5], None, MASK),
    ("x", GRAD, X[None], WEIGHT, MASK),
    ("x", GRAD, X[:, :4], WEIGHT, MASK),
    ("x", GRAD, X[0, 0].reshape(()), WEIGHT, MASK),
    ("mask", GRAD, X, WEIGHT, MASK[:5]),
    ("mask", GRAD, X, WEIGHT, MASK[:, 0]),
    ("mask", GRAD, X, WEIGHT, MASK[None]),
    ("mask", GRAD, X, WEIGHT, np.ones((6, 4), np.uint8)),
    ("mask", GRAD, X, WEIGHT, MASK[:, :0]),
]


@pytest.mark.parametrize(("name", "grad", "x", "weight", "mask"), BACKWARD_SHAPES)
def test_wrong_shapes_backward(backend, name, grad, x, weight, mask):
    with pytest.raises(ValueError, match=f"^{name}: got "):
        homfast.linear_relu_backward(grad, x, weight, mask, backend=backend)


@pytest.mark.parametrize(
    "mask",
    [np.ones((6, 4), bool), MASK.astype(bool), MASK.astype(np.int8), MASK.astype(float),
     MASK.tolist(), np.ma.masked_array(MASK), MASK.astype(object), "mask", True],
    ids=lambda mask: f"{type(mask).__name__} {getattr(mask, 'dtype', '')}",
)  # fmt: skip
def test_wrong_masks(backend, mask):
    with pytest.raises(TypeError, match=r"^mask: got "):
        homfast.linear_relu_backward(GRAD, X, WEIGHT, mask, backend=backend)


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"precision": "best"}, ValueError, "precision"),
        ({"precision": "HIGHEST"}, ValueError, "precision"),
        ({"precision": 32}, ValueError, "precision"),
        ({"precision": ["high"]}, ValueError, "precision"),
        ({"precision": np.ones(3)}, ValueError, "precision"),
        ({"precision": "low"}, ValueError, "precision"),
        ({"backend": "blas"}, ValueError, "backend"),
        ({"backend": ""}, ValueError, "backend"),
        ({"backend": "cuda"}, (RuntimeError, TypeError), "backend"),
        ({"backend": 1}, (TypeError, ValueError), "backend"),
        ({"backend": ["native"]}, (TypeError, ValueError), "backend"),
    ],
    ids=str,
)
def test_wrong_options(options, error, name):
    for call in (
        lambda: homfast.linear(X, WEIGHT, **options),
        lambda: homfast.linear_relu(X, WEIGHT, **options),
        lambda: homfast.linear_relu_backward(GRAD, X, WEIGHT, MASK, **options),
    ):
        with pytest.raises(error, match=f"^{name}: "):
            call()


@pytest.mark.parametrize(
    ("slope", "error"),
    [(np.nan, ValueError), (np.inf, ValueError), (-np.inf, ValueError), ("leaky", TypeError),
     (None, TypeError), ([0.1], TypeError), (np.ones(2), TypeError), (1j, TypeError),
     (1e39, ValueError), (10**400, ValueError), ("0.1", TypeError), (True, TypeError)],
    ids=repr,
)  # fmt: skip
def test_wrong_slopes(backend, slope, error):
    """1e39 is infinite in float32, where a masked 0 would become NaN."""
    options = {"negative_slope": slope, "backend": backend}
    for call in (
        lambda: homfast.linear_relu(X, WEIGHT, **options),
        lambda: homfast.linear_relu_backward(GRAD, X, WEIGHT, MASK, **options),
    ):
        with pytest.raises(error, match=r"^negative_slope: "):
            call()


def test_missing_arrays(backend):
    with pytest.raises(TypeError, match=r"^x: got NoneType"):
        homfast.linear(None, WEIGHT, backend=backend)
    with pytest.raises(TypeError, match=r"^weight: got NoneType"):
        homfast.linear(X, None, backend=backend)
    with pytest.raises(TypeError, match=r"^grad_output: got NoneType"):
        homfast.linear_relu_backward(None, X, WEIGHT, MASK, backend=backend)


def test_state_is_usable_after_errors(backend):
    for kind in NOT_ARRAYS:
        with pytest.raises(TypeError):
            homfast.linear(NOT_ARRAYS[kind](X), WEIGHT, backend=backend)
        assert (homfast.linear(X, WEIGHT, backend=backend) == 5).all()
