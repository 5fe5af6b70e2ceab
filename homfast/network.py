"""Bias-free ReLU networks: positively homogeneous maps f(t y) = t f(y), t >= 0.

Two hidden layers are enough for stable recovery of sparse vectors, low-rank matrices and phaseless
signals, one is not (Bamberger, Heckel, Krahmer, arXiv 2308.02836).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _bfloat16, _memory, storage


class ReLUNetwork:
    """A bias-free ReLU network ``W_L relu(... relu(W_1 x))``; the last layer is linear.

    Parameters
    ----------
    weights : sequence of arrays, each (out_features, in_features)
        One a layer, first layer first, of one dtype, float32, float64 or bfloat16 (of ml_dtypes or
        torch); they are copied.
    negative_slope : float
        Slope of the hidden units for pre-activations <= 0; 0 is ReLU.
    precision : {"highest", "high", "medium"}
        Accuracy of float32 products, see `homfast.linear`. Products of bfloat16 weights are
        "medium", whatever this says but "high", which is refused.
    backend : str, optional
        Name of a backend; by default the first that is available.

    Raises
    ------
    ValueError
        No layers, a weight that is not a matrix, widths that do not chain.
    TypeError
        Mixed or unsupported dtypes.

    Notes
    -----
    A row of the result is determined, to the bit, by that row and the weights: not by the batch,
    its size or the thread count. Scaling the input by a power of two scales the result exactly, as
    long as nothing overflows or goes denormal.

    Examples
    --------
    >>> import numpy as np, homfast
    >>> absolute = homfast.ReLUNetwork([np.float32([[1], [-1]]), np.float32([[1, 1]])])
    >>> absolute(np.float32([[-3], [2]]))
    array([[3.],
           [2.]], dtype=float32)
    """

    def __init__(
        self,
        weights: Iterable[Any],
        *,
        negative_slope: float = 0.0,
        precision: str | None = "highest",
        backend: str | None = None,
    ):
        _arrays.check_precision(precision)
        self._negative_slope = _arrays.check_slope(negative_slope)
        self._weights = [np.array(w, order="C") for w in _checked_weights(weights)]
        self._widths = (self._weights[0].shape[1], *(w.shape[0] for w in self._weights))
        self._half = self._weights[0].dtype == _arrays.BFLOAT16
        if self._half and precision == "high":
            _bfloat16.check_precision(precision)
        self._precision = "medium" if self._half else precision or "highest"
        self._backend_name = backend
        self._backend = _backends.resolve(backend, self._weights[0])
        self._version = 0
        self._pack()

    @classmethod
    def random(
        cls, widths: Sequence[int], *, seed: int = 0, dtype: Any = np.float32, **options: Any
    ) -> ReLUNetwork:
        """A network with He initialisation: N(0, 2 / in_features), N(0, 1 / in_features) last.

        Parameters
        ----------
        widths : sequence of int
            Input width, hidden widths, output width.
        seed : int
            The same seed gives the same weights.
        dtype : float32 or float64
        **options
            `negative_slope`, `precision`, `backend` of the class. With a slope a the variance is
            2 / ((1 + a^2) in_features).

        Notes
        -----
        He, Zhang, Ren, Sun, arXiv 1502.01852. The last layer is linear and keeps the variance.
        """
        widths = _checked_widths(widths)
        if "bfloat16" in str(dtype):  # whoever's it is
            raise TypeError(
                "dtype: got bfloat16, wanted float32 or float64; round what is drawn: "
                "ReLUNetwork.random(widths).to(a bfloat16 array)"
            )
        dtype = _arrays.check_float_dtype(dtype)
        slope = _arrays.check_slope(options.get("negative_slope", 0.0))
        generator = np.random.default_rng(_arrays.check_seed(seed))
        weights = []
        for layer in range(len(widths) - 1):
            fan_in, fan_out = widths[layer], widths[layer + 1]
            _memory.check(
                (fan_out, fan_in), np.dtype(float), f"widths: weight {layer}", "choose fewer"
            )
            gain = 1.0 if layer == len(widths) - 2 else 2.0 / (1.0 + slope * slope)
            scale = np.sqrt(gain / max(fan_in, 1))
            weights.append((scale * generator.standard_normal((fan_out, fan_in))).astype(dtype))
        return cls(weights, **options)

    # What it is ----------------------------------------------------------------------------------

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Read-only views of the weights, first layer first; what `fit` writes shows in them."""
        views = tuple(w.view(self.dtype) for w in self._weights)
        for view in views:
            view.flags.writeable = False
        return views

    @property
    def widths(self) -> tuple[int, ...]:
        """Input width, hidden widths, output width."""
        return self._widths

    @property
    def dtype(self) -> np.dtype:
        """float32, float64 or bfloat16."""
        return _bfloat16.public_dtype() if self._half else self._weights[0].dtype

    @property
    def negative_slope(self) -> float:
        """Slope of the hidden units for pre-activations <= 0."""
        return self._negative_slope

    @property
    def precision(self) -> str:
        """Accuracy of float32 products."""
        return self._precision

    def __repr__(self) -> str:
        slope = f", negative_slope={self._negative_slope}" if self._negative_slope else ""
        dtype = _arrays.dtype_name(self.dtype)
        return f"ReLUNetwork(widths={self.widths}, dtype={dtype}{slope})"

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: the weights and options, packed anew."""
        options = (self._negative_slope, self._precision, self._backend_name)
        return _rebuild, ([np.array(w) for w in self._weights], *options)

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Replace the weights by others of the same shapes and dtype; they are copied.

        Closures and linearisations made before raise RuntimeError from now on. Not to be called,
        nor `homfast.fit`, while other threads compute with this network: they may see some layers
        with new weights and some with old ones. Threads that only compute may share a network.
        """
        checked = _checked_weights(weights)
        shapes, wanted = [w.shape for w in checked], [w.shape for w in self._weights]
        if shapes != wanted:
            raise ValueError(f"weights: got shapes {shapes}, wanted {wanted}; make a new network?")
        if checked[0].dtype != self._weights[0].dtype:
            came = _arrays.dtype_name(checked[0].dtype)
            raise TypeError(f"weights: got dtype {came}, wanted {self.dtype}")
        for own, new in zip(self._weights, [np.array(w) for w in checked], strict=True):
            own[...] = new
        self._weights_changed()

    def to(self, like: Any) -> ReLUNetwork:
        """A copy of this network with the dtype, and on the device, of the array ``like``."""
        if isinstance(like, (str, type, np.dtype)):
            raise TypeError(
                f"like: got {like!r}, wanted an array whose dtype the network is to have, for "
                "instance np.empty(0, np.float64)"
            )
        dtype = _arrays.host_array(like, "like", _arrays.LAYER_DTYPES).dtype
        if dtype == _arrays.BFLOAT16:
            singles = [w.astype(np.float32) for w in self._operands]
            weights = [_bfloat16.narrow(self._backend, w) for w in singles]
        else:
            weights = [w.astype(dtype) for w in self._operands]
        return ReLUNetwork(
            weights,
            negative_slope=self._negative_slope,
            precision="highest" if self._half else self._precision,
            backend=self._backend_name,
        )

    # What it computes ----------------------------------------------------------------------------

    def __call__(self, x: Any, out: Any = None) -> Any:
        """The network at each row of `x`.

        Parameters
        ----------
        x : array, shape (..., in_features), dtype of the weights
        out : array, shape (..., out_features), optional
            Where to write. It may overlap `x`.

        Returns
        -------
        array, shape (..., out_features), of the library of `x`
        """
        if not self._half:
            result = self._chain.plain(x, out)
            if result is not None:
                return result
        inputs = self._check(x, "x", self.widths[0])
        shape = (*inputs.shape[:-1], self.widths[-1])
        target, finish = _arrays.prepare_out(out, shape, inputs.dtype, (inputs,))
        rows = self._enter(_arrays.as_rows(inputs))
        values = np.empty(target.shape, rows.dtype) if self._half else target
        self._chain.forward(rows, [], [], values)
        if self._half:
            _bfloat16.narrow(self._backend, values, target)
        result = finish()
        return result if out is not None else _arrays.result_like(result, x)

    def vjp(self, x: Any) -> tuple[Any, Callable[[Any], tuple[Any, list[Any]]]]:
        """The network at `x` and a function that pulls a gradient back through it.

        Parameters
        ----------
        x : array, shape (..., in_features)

        Returns
        -------
        y : array, shape (..., out_features)
        vjp : callable
            ``grad_input, grad_weights = vjp(grad_output)``: `grad_output` has the shape of `y`,
            `grad_input` that of `x`, and `grad_weights` is a list, one gradient a weight, summed
            over all rows. It may be called more than once. RuntimeError after the weights changed.

        Notes
        -----
        Kept for it: one bit a hidden unit, and the layers' inputs for the weights' gradients.
        """
        traced = None if self._half else self._training.trace(x)
        plain = traced is not None
        if traced is None:
            inputs = self._check(x, "x", self.widths[0])
            rows = self._enter(_arrays.as_rows(inputs))
            traced = self._training.trace(np.ascontiguousarray(rows))
            y = self._leave(traced[0]).reshape(*inputs.shape[:-1], self.widths[-1])
        else:
            y = traced[0]
        trace, shape, version = traced[1], y.shape, self._version

        def vjp(grad_output: Any) -> tuple[Any, list[Any]]:
            if version != self._version:
                self._check_version(version, "vjp")
            pulled = trace.pull_back(grad_output, True) if plain else None
            if pulled is not None:
                return pulled
            grad = self._check(grad_output, "grad_output", self.widths[-1])
            if grad.shape != shape:
                raise ValueError(f"grad_output: got shape {grad.shape}, wanted {shape}, that of y")
            rows = np.ascontiguousarray(self._enter(_arrays.as_rows(grad)).reshape(traced_shape))
            grad_input, grad_weights = trace.pull_back(rows, True)
            grad_input = self._leave(grad_input).reshape(*shape[:-1], self.widths[0])
            return (
                _arrays.result_like(grad_input, grad_output),
                [_arrays.result_like(self._leave(g), grad_output) for g in grad_weights],
            )

        traced_shape = traced[0].shape
        return _arrays.result_like(y, x), vjp

    def jvp(self, x: Any, v: Any) -> tuple[Any, Any]:
        """The network at `x` and its directional derivative along `v`.

        Parameters
        ----------
        x, v : arrays of one shape (..., in_features)

        Returns
        -------
        y, dy : arrays, shape (..., out_features)
            ``dy = J(x) v``; at a kink the derivative is that of the inactive side, as in `vjp`.
        """
        plain = None if self._half else self._training.jvp(x, v)
        if plain is not None:
            return plain
        linearized = self.linearize(x)
        direction = self._check(v, "v", self.widths[0])
        if direction.shape[:-1] != linearized.output.shape[:-1]:
            raise ValueError(
                f"v: got shape {direction.shape}, wanted that of x, "
                f"{(*linearized.output.shape[:-1], self.widths[0])}"
            )
        return linearized.output, linearized.forward(v)

    def jacobian(self, x: Any) -> Any:
        """The Jacobian at each row of `x`.

        Parameters
        ----------
        x : array, shape (..., in_features)

        Returns
        -------
        array, shape (..., out_features, in_features)
            ``f(x) = J(x) x``, for the network is positively homogeneous.
        """
        from homfast.linearization import jacobian

        return jacobian(self, x)

    def linearize(self, x: Any) -> Any:
        """The network with its masks frozen at `x`: a linear operator that can be used many times.

        Parameters
        ----------
        x : array, shape (..., in_features)

        Returns
        -------
        Linearization
            ``forward(v)``, ``adjoint(u)``, and ``output``, the network at `x`. It keeps one bit a
            hidden unit.
        """
        from homfast.linearization import Linearization

        return Linearization(self, x)

    # Files ---------------------------------------------------------------------------------------

    def save(self, path: Any) -> None:
        """Write the network to a safetensors file, tensors ``layers.0.weight`` and so on.

        Raises
        ------
        ImportError
            Without the package safetensors, in the extras ``demo`` and ``test``.
        """
        storage.write(self, path)

    @classmethod
    def load(cls, path: Any, *, backend: str | None = None) -> ReLUNetwork:
        """Read a network that `save` wrote. Nothing in the file is executed.

        Raises
        ------
        ValueError
            The file is not a network: not safetensors, no or missing layers, widths that do not
            chain.
        """
        weights, options = storage.read(path)
        if backend is not None:
            _backends.resolve(backend, weights[0])  # an error of the caller's, not of the file
        try:
            return cls(weights, backend=backend, **options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"path: {path} holds no network: {error}") from error

    # Within the package --------------------------------------------------------------------------

    def _pack(self) -> None:
        self._operands = self._weights
        if self._half:
            self._operands = [_bfloat16.widen(self._backend, w) for w in self._weights]
        self._packed = [self._backend.pack_weight(w, self._precision) for w in self._operands]
        self._chain = self._backend.pack_network(self._packed, self._negative_slope)
        self._training = self._backend.pack_training(self._chain)

    def _weights_changed(self) -> None:
        """Call after the arrays in ``_weights`` were written to."""
        self._version += 1
        if self._half:
            for own, wide in zip(self._weights, self._operands, strict=True):
                self._backend.widen_bfloat16(own.view(np.uint16), wide)
        for handle in self._packed:
            if not isinstance(handle, np.ndarray):
                handle.refresh()

    def _check_version(self, version: int, name: str) -> None:
        if version != self._version:
            raise RuntimeError(
                f"{name}: the weights of the network changed since it was made; make a new one"
            )

    def _enter(self, rows: np.ndarray) -> np.ndarray:
        """Checked rows as kernels take them."""
        return _bfloat16.widen(self._backend, rows) if self._half else rows

    def _leave(self, values: np.ndarray) -> np.ndarray:
        """A result of kernels in the dtype of the weights."""
        return _bfloat16.narrow(self._backend, values) if self._half else values

    def _check(self, array: Any, name: str, features: int) -> np.ndarray:
        checked = _arrays.host_array(array, name, _arrays.LAYER_DTYPES)
        if checked.dtype != self._weights[0].dtype:
            came = _arrays.dtype_name(checked.dtype)
            raise TypeError(
                f"{name}: got {came}, wanted {self.dtype}, the dtype of the weights; "
                f"pass {name}.astype(net.dtype) or use net.to({name})"
            )
        if checked.ndim == 0 or checked.shape[-1] != features:  # no message made for nothing
            _arrays.check_last_axis(checked, name, features, f"widths {self.widths}")
        return checked


def _rebuild(
    weights: list[np.ndarray], negative_slope: float, precision: str, backend: str | None
) -> ReLUNetwork:
    return ReLUNetwork(weights, negative_slope=negative_slope, precision=precision, backend=backend)


def _checked_weights(weights: Iterable[Any]) -> list[np.ndarray]:
    if isinstance(weights, np.ndarray) or not isinstance(weights, Iterable):
        came = "one array" if isinstance(weights, np.ndarray) else type(weights).__name__
        raise TypeError(f"weights: got {came}, wanted a list of matrices, one a layer")
    arrays = [
        _arrays.host_array(w, f"weights[{i}]", _arrays.LAYER_DTYPES) for i, w in enumerate(weights)
    ]
    if not arrays:
        raise ValueError("weights: got an empty list, wanted at least one matrix")
    for i, array in enumerate(arrays):
        _arrays.check_matrix(array, f"weights[{i}]", "(out_features, in_features)")
        if i == 0:
            continue
        _arrays.check_same_dtype(arrays[0], "weights[0]", array, f"weights[{i}]")
        if array.shape[1] != arrays[i - 1].shape[0]:
            raise ValueError(
                f"weights[{i}]: got shape {array.shape}, wanted (out_features, "
                f"{arrays[i - 1].shape[0]}) to take the output of weights[{i - 1}] of shape "
                f"{arrays[i - 1].shape}"
            )
    return arrays


def _checked_widths(widths: Sequence[int]) -> list[int]:
    try:
        given = list(widths)
        sizes = [int(w) for w in given]
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"widths: got {widths!r}, wanted a sequence of integers") from None
    if len(sizes) < 2:
        raise ValueError(f"widths: got {sizes}, wanted an input and an output width at least")
    whole = all(size == w and not isinstance(w, bool) for size, w in zip(sizes, given, strict=True))
    if not whole or min(sizes) < 0:
        raise ValueError(f"widths: got {given}, wanted integers >= 0")
    return sizes
