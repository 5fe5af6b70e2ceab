"""ReLUNetwork as an object: weights, versions, copies, initialisation, what it refuses."""

import copy
import pickle
import signal

import numpy as np
import pytest
from oracles import assert_same_bits
from processes import output

import homfast
from homfast import ReLUNetwork

WIDTHS = (17, 33, 9, 4)


@pytest.fixture
def net(engine, dtype):
    return ReLUNetwork.random(WIDTHS, seed=3, dtype=dtype, backend=engine.backend)


@pytest.fixture
def x(rng, dtype):
    return rng.standard_normal((21, WIDTHS[0])).astype(dtype)


def test_weights_are_copied_and_read_only(engine, dtype, rng):
    given = [rng.standard_normal(s).astype(dtype) for s in ((8, 5), (3, 8))]
    kept = [w.copy() for w in given]
    net = ReLUNetwork(given, backend=engine.backend)
    for weight in given:
        weight[...] = np.nan
    for weight, wanted in zip(net.weights, kept, strict=True):
        assert_same_bits(weight, wanted, f"{engine} {dtype}")
        assert not weight.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            weight[0, 0] = 1
    assert np.isfinite(net(np.ones((2, 5), dtype))).all()


@pytest.mark.parametrize("layout", ["F", "negative", "apart"])
def test_weights_of_any_layout(engine, dtype, rng, layout):
    weight = rng.standard_normal((9, 17)).astype(dtype)
    view = {
        "F": np.asfortranarray(weight),
        "negative": np.ascontiguousarray(weight[::-1, ::-1])[::-1, ::-1],
        "apart": np.repeat(np.repeat(weight, 2, axis=0), 3, axis=1)[::2, ::3],
    }[layout]
    net = ReLUNetwork([view], backend=engine.backend)
    x = rng.standard_normal((20, 17)).astype(dtype)
    assert_same_bits(net.weights[0], weight, layout)
    assert_same_bits(net(x), ReLUNetwork([weight], backend=engine.backend)(x), f"{engine} {layout}")


def test_set_weights_changes_the_map(engine, net, x, rng):
    """The packed copies are made anew, in place."""
    before = net(x)
    weights = [rng.standard_normal(w.shape).astype(net.dtype) for w in net.weights]
    views = net.weights
    net.set_weights(weights)
    assert_same_bits(net(x), ReLUNetwork(weights, backend=engine.backend)(x), str(engine))
    assert not np.array_equal(net(x), before)
    assert_same_bits(views[0], weights[0], "an older view sees the new weights")


def test_set_weights_takes_its_own_weights(engine, dtype, rng):
    given = [rng.standard_normal((6, 6)).astype(dtype) for _ in range(2)]
    net = ReLUNetwork(given, backend=engine.backend)
    first, second = (w.copy() for w in net.weights)
    net.set_weights(net.weights[::-1])
    assert_same_bits(net.weights[0], second, str(engine))
    assert_same_bits(net.weights[1], first, str(engine))


def test_closures_are_stale_after_set_weights(net, x):
    y, vjp = net.vjp(x)
    linearized = net.linearize(x)
    vjp(y), linearized.forward(x), linearized.adjoint(y)
    net.set_weights([2 * w for w in net.weights])
    for call in (
        lambda: vjp(y),
        lambda: linearized.forward(x),
        lambda: linearized.adjoint(y),
    ):
        with pytest.raises(RuntimeError, match="weights of the network changed"):
            call()
    assert_same_bits(linearized.output, y, "what was computed stays")
    assert_same_bits(net(x), 8 * y, "three weights doubled")


def test_closures_are_stale_after_fit(net, x):
    y, vjp = net.vjp(x)
    linearized = net.linearize(x)
    homfast.fit(net, [(x, y + 1)], learning_rate=1e-3)
    with pytest.raises(RuntimeError, match="vjp"):
        vjp(y)
    with pytest.raises(RuntimeError, match="linearize"):
        linearized.forward(x)


def test_vjp_keeps_the_x_it_saw(net, x):
    kept = x.copy()
    y, vjp = net.vjp(x)
    x[...] = np.nan
    _, gradients = vjp(y)
    _, wanted = net.vjp(kept)[1](y)
    for gradient, other in zip(gradients, wanted, strict=True):
        assert_same_bits(gradient, other, "x was overwritten after vjp")


def test_results_belong_to_the_caller(net, x):
    """Writing to one result changes no later one."""
    y, vjp = net.vjp(x)
    wanted, grad_input, gradients = y.copy(), *vjp(np.ones_like(y))
    kept = grad_input.copy()
    for array in (y, grad_input, *gradients):
        array[...] = np.nan
    assert_same_bits(net(x), wanted, "net(x)")
    assert_same_bits(vjp(np.ones_like(y))[0], kept, "vjp")


def test_random_is_seeded_and_he(engine, dtype):
    net = ReLUNetwork.random((200, 300, 100), seed=7, dtype=dtype, backend=engine.backend)
    same = ReLUNetwork.random([200, 300, 100], seed=7, dtype=dtype, backend=engine.backend)
    other = ReLUNetwork.random((200, 300, 100), seed=8, dtype=dtype, backend=engine.backend)
    for weight, again, different in zip(net.weights, same.weights, other.weights, strict=True):
        assert weight.dtype == dtype
        assert_same_bits(weight, again, "same seed")
        assert not np.array_equal(weight, different)
    assert np.std(net.weights[0]) == pytest.approx(np.sqrt(2 / 200), rel=0.03)
    assert np.std(net.weights[1]) == pytest.approx(np.sqrt(1 / 300), rel=0.03)
    leaky = ReLUNetwork.random((200, 300, 100), negative_slope=1.0, backend=engine.backend)
    assert np.std(leaky.weights[0]) == pytest.approx(np.sqrt(1 / 200), rel=0.03)


def test_random_weights_are_numpys_numbers():
    """They are drawn by parts, between which handlers of signals run."""
    widths = (700, 900, 3)
    generator = np.random.default_rng(5)
    for weight in ReLUNetwork.random(widths, seed=5, dtype=np.float64).weights:
        scale = np.sqrt((2 if len(weight) == 900 else 1) / weight.shape[1])
        assert_same_bits(weight, scale * generator.standard_normal(weight.shape), "one draw")


DRAWN = """
import signal
import homfast

came = []
signal.signal(signal.SIGALRM, lambda *_: came.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
homfast.ReLUNetwork.random([3000, 8000])
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(came) > 10)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="sets a timer that sends signals")
def test_ctrl_c_is_heard_while_random_weights_are_drawn():
    assert output(DRAWN) == "True"


def test_properties_and_repr(engine, net, dtype):
    assert net.widths == WIDTHS and net.dtype == dtype
    assert net.negative_slope == 0.0 and net.precision == "highest"
    assert [w.shape for w in net.weights] == [(33, 17), (9, 33), (4, 9)]
    assert repr(net) == f"ReLUNetwork(widths=(17, 33, 9, 4), dtype={dtype})"
    leaky = ReLUNetwork.random((2, 1), negative_slope=0.5, backend=engine.backend)
    assert repr(leaky) == "ReLUNetwork(widths=(2, 1), dtype=float32, negative_slope=0.5)"


def test_to_has_the_dtype_of_an_array(engine, net, x, dtype):
    other = np.dtype(np.float64 if dtype == np.float32 else np.float32)
    moved = net.to(x.astype(other))
    assert moved.dtype == other and moved.widths == net.widths
    for weight, own in zip(moved.weights, net.weights, strict=True):
        assert_same_bits(weight, own.astype(other), str(engine))
    with pytest.raises(TypeError, match=r"^x: got float"):
        net(x.astype(other))
    assert moved(x.astype(other)).dtype == other
    copy = net.to(x)
    copy.set_weights([0 * w for w in copy.weights])
    assert net(x).any() and not copy(x).any(), "to() shares weights"


ONE = np.ones((3, 2), np.float32)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([], ValueError, "weights: got an empty list"),
        (ONE, TypeError, "weights: got one array"),
        ([ONE, ONE], ValueError, r"weights\[1\]: got shape \(3, 2\)"),
        ([ONE, ONE.T.astype(np.float64)], TypeError, r"weights\[1\]: got float64"),
        ([ONE[0]], ValueError, r"weights\[0\]: got shape \(2,\)"),
        ([ONE, ONE.T[None]], ValueError, r"weights\[1\]"),
        ([ONE.astype(np.float16)], TypeError, r"weights\[0\]"),
        ([ONE.tolist()], TypeError, r"weights\[0\]: got list"),
        ([np.ma.masked_array(ONE)], TypeError, r"weights\[0\]: got a masked array"),
        ("weights", TypeError, r"weights"),
        (None, TypeError, "weights"),
        (5, TypeError, "weights"),
    ],
)
def test_bad_weights(engine, weights, error, message):
    with pytest.raises(error, match=message):
        ReLUNetwork(weights, backend=engine.backend)


@pytest.mark.parametrize(
    ("widths", "error"),
    [((3,), ValueError), ((), ValueError), ((3, -1), ValueError), ((3, 2.5), ValueError),
     (("a", "b"), TypeError), (5, TypeError), (None, TypeError), ((np.inf, 2), TypeError),
     ((np.nan, 2), TypeError), ((True, 2), ValueError), ((10**5, 10**8), MemoryError),
     ((10**30, 2), MemoryError)],
)  # fmt: skip
def test_bad_widths(widths, error):
    with pytest.raises(error, match=r"^widths: "):
        ReLUNetwork.random(widths)


def test_bad_options(engine):
    for options, error, name in (
        ({"dtype": np.float16}, TypeError, "dtype"),
        ({"dtype": int}, TypeError, "dtype"),
        ({"dtype": "bfloat16"}, TypeError, r"dtype: got bfloat16.*\.to\("),
        ({"precision": "best"}, ValueError, "precision"),
        ({"negative_slope": np.nan}, ValueError, "negative_slope"),
        ({"negative_slope": "0.1x"}, TypeError, "negative_slope"),
        ({"backend": "fastest"}, ValueError, "backend"),
    ):
        with pytest.raises(error, match=f"^{name}" if " " in name else f"^{name}: "):
            ReLUNetwork.random((3, 2), **options)


def test_bad_set_weights(net):
    kept = [w.copy() for w in net.weights]
    good = [w.copy() for w in net.weights]
    for weights, error in (
        (good[:2], ValueError),
        (good[::-1], ValueError),
        ([w.astype(np.float16) for w in good], TypeError),
        ([w.astype("f8" if net.dtype == "f4" else "f4") for w in good], TypeError),
        (None, TypeError),
    ):
        with pytest.raises(error, match=r"^weights"):
            net.set_weights(weights)
    for weight, wanted in zip(net.weights, kept, strict=True):
        assert_same_bits(weight, wanted, "weights after a refused set_weights")


def test_bad_calls(net, x):
    y, vjp = net.vjp(x)
    linearized = net.linearize(x)
    for call, name in (
        (lambda: net(x[:, :5]), "x"),
        (lambda: net(x, out=y[:, :2]), "out"),
        (lambda: net.vjp(x.T), "x"),
        (lambda: vjp(y[:5]), "grad_output"),
        (lambda: vjp(x), "grad_output"),
        (lambda: net.jvp(x, x[:5]), "v"),
        (lambda: net.jvp(x[0], x), "v"),
        (lambda: net.jvp(x, y), "v"),
        (lambda: linearized.forward(x[:5]), "v"),
        (lambda: linearized.forward(y), "v"),
        (lambda: linearized.adjoint(y[0]), "u"),
        (lambda: linearized.adjoint(x), "u"),
        (lambda: net.jacobian(y), "x"),
        (lambda: net(np.asarray(x[0, 0])), "x"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got shape"):
            call()
    for call, name in (
        (lambda: net(x.tolist()), "x"),
        (lambda: net.jvp(x, x.astype(np.float16)), "v"),
        (lambda: vjp(y.astype(complex)), "grad_output"),
        (lambda: linearized.adjoint(None), "u"),
        (lambda: net.to("float64"), r"like: got 'float64'.*np\.empty"),
        (lambda: net.to(np.float64), r"like: got .*np\.empty"),
        (lambda: net.to(np.dtype("f8")), r"like: got .*np\.empty"),
        (lambda: net.to(None), "like"),
    ):
        with pytest.raises(TypeError, match=f"^{name}" if " " in name else f"^{name}: got"):
            call()


class Named(ReLUNetwork):
    """As users write: another constructor, and something kept."""

    def __init__(self, name, weights):
        super().__init__(weights, negative_slope=0.5)
        self.name = [name]


def test_copies_are_of_the_class_and_keep_what_was_added():
    net = Named("a name", [np.ones((3, 2)), np.ones((1, 3))])
    net.note = "set outside"
    loaded = pickle.loads(pickle.dumps(net))
    for other in (copy.copy(net), copy.deepcopy(net), loaded, net.to(np.float32(0))):
        assert type(other) is Named and other.negative_slope == 0.5
        assert other.name == ["a name"] and other.note == "set outside"
        assert other(np.ones(2, other.dtype)) == 6
    assert copy.copy(net).name is net.name and copy.deepcopy(net).name is not net.name


def test_a_linearization_is_not_copied():
    """Its network's copy would not know that the weights changed since."""
    J = ReLUNetwork.random((4, 8, 3)).linearize(np.ones((2, 4), np.float32))
    for make in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="linearize again"):
            make(J)
