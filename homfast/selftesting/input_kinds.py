"""An argument of any kind gives the bits of a plain array, or an error that names an argument."""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting.oracles import ensure, pack

TITLE = (
    "whatever is given for an array: the bits of a plain one, or an error that names an argument"
)
KEEPS_BITS = False


class _Subclass(np.ndarray):
    pass


class _WithArray:
    """What NumPy can convert, and no library knows."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def _misaligned(array):
    moved = b"\0" + array.tobytes()
    return np.frombuffer(moved, array.dtype, offset=1).reshape(array.shape)


def _read_only(array):
    copied = array.copy()
    copied.flags.writeable = False
    return copied


# Of the values and the shape of the plain array.
_SAME = {
    "reversed strides": lambda a: a[::-1].copy()[::-1],
    "Fortran's order": np.asfortranarray,
    "every other element": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "misaligned": _misaligned,
    "read-only": _read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "a subclass": lambda a: a.view(_Subclass),
    "np.matrix": np.asmatrix,
    "a masked array": np.ma.masked_array,
    "a list": lambda a: a.tolist(),
    "a tuple": lambda a: tuple(map(tuple, a.tolist())),
    "a memoryview": memoryview,
    "__array__": _WithArray,
    "integers": lambda a: a.astype(np.int64),
    "half": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    # A complex matrix of the same precision makes an operator.
    "complex": lambda a: a.astype(np.complex128 if a.dtype == np.float32 else np.complex64),
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
}
# Of others: no result would be right.
_OTHER = {
    "None": lambda a: None,
    "a word": lambda a: "x",
    "bytes": lambda a: a.tobytes(),
    "a number": lambda a: 1.5,
    "NumPy's number": lambda a: a.dtype.type(1),
    "no axes": lambda a: np.array(1, a.dtype),
    "logicals": lambda a: a.astype(bool),
    "dates": lambda a: np.zeros(a.shape, "M8[s]"),
    "durations": lambda a: np.zeros(a.shape, "m8[s]"),
    "records": lambda a: np.zeros(a.shape, [("a", "f4")]),
    "void": lambda a: np.zeros(a.shape, "V4"),
    "the other float": lambda a: a.astype(np.float64 if a.dtype == np.float32 else np.float32),
    "a generator": iter,
    "a dict": lambda a: {},
    "a set": lambda a: set(),
    "a type": lambda a: np.float32,
    "a module": lambda a: np,
    "a slice": lambda a: slice(3),
    "an ellipsis": lambda a: ...,
    "one feature less": lambda a: a[..., :-1],
    "twice the features": lambda a: np.concatenate([a, a], axis=-1),
    "no features": lambda a: a[..., :0],
    "no elements": lambda a: np.zeros(0, a.dtype),
}
_KINDS = _SAME | _OTHER
CORNERS = tuple({"kind": name} for name in _KINDS)


def draw(rng, largest):
    return None  # the corners are all


def check(engine, dtype, rng, kind):
    for name, (call, plain) in _calls(engine, dtype, rng).items():
        case = f"{engine} {dtype} {name}, {kind}"
        wanted = _bytes(call(plain))
        given = _KINDS[kind](plain)
        try:
            found = call(given)
        except (TypeError, ValueError) as error:
            argument = str(error).partition(":")[0]
            names = ("x", "v", "y", "weight", "weights", "grad_output", "mask", "matrix")
            ensure(argument.split("[")[0] in names, f"{case}: {error} names no argument")
        else:
            ensure(kind in _SAME, f"{case}: gave a result, wanted an error")
            ensure(_bytes(found) == wanted, f"{case}: other bits than of a plain array")


def _calls(engine, dtype, rng):
    """By name: a function of one argument, and a plain array for it. Sums are exact."""
    x, weight, grad = (
        rng.integers(-3, 4, shape).astype(dtype) for shape in ((3, 4), (9, 4), (3, 9))
    )
    mask, options = pack(grad > 0), {"backend": engine.backend}
    net = homfast.ReLUNetwork([weight, weight.T.copy()], **options)
    op = homfast.measure.Dense(weight)
    backward = homfast.linear_relu_backward
    return {
        "linear x": (lambda v: homfast.linear(v, weight, **options), x),
        "linear weight": (lambda v: homfast.linear(x, v, **options), weight),
        "linear_relu x": (
            lambda v: homfast.linear_relu(v, weight, return_mask=True, **options), x,
        ),
        "linear_relu weight": (lambda v: homfast.linear_relu(x, v, **options), weight),
        "backward grad_output": (lambda v: backward(v, x, weight, mask, **options), grad),
        "network": (net, x),
        "network's weights": (
            lambda v: homfast.ReLUNetwork([v, weight.T.copy()], **options)(x), weight,
        ),
        "vjp": (lambda v: net.vjp(v)[0], x),
        "jvp": (lambda v: net.jvp(x, v)[1], x),
        "operator": (op, x),
        "adjoint": (op.adjoint, grad),
        "matrix of an operator": (lambda v: homfast.measure.Dense(v)(x), weight),
    }  # fmt: skip


def _bytes(result):
    """Of all arrays in it."""
    if isinstance(result, tuple):
        return b"|".join(map(_bytes, result))
    return b"" if result is None else np.ascontiguousarray(result).tobytes()
