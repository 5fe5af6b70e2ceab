"""Bias-free ReLU networks: positively homogeneous maps f(t y) = t f(y), t >= 0.

Two hidden layers are enough for stable recovery of sparse vectors, low-rank matrices and phaseless
signals, one is not (Bamberger, Heckel, Krahmer, arXiv 2308.02836).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _bfloat16, _places, storage
from homfast._backends import interrupts
from homfast.weights import checked_weights, random_weights


class ReLUNetwork:
    """A bias-free ReLU network ``W_L relu(... relu(W_1 x))``; the last layer is linear.

    Parameters
    ----------
    weights : sequence of arrays, each (out_features, in_features)
        One a layer, first layer first, of one dtype, float32, float64 or bfloat16 (of ml_dtypes or
        torch); they are copied. Where they are, on the CPU or a CUDA device, the network computes.
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
        Mixed or unsupported dtypes, weights or input in several places.

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
        self._place, checked = checked_weights(weights)
        self._weights = [self._place.copied(w) for w in checked]
        self._widths = (checked[0].shape[1], *(w.shape[0] for w in checked))
        self._dtype = checked[0].dtype  # of the package; `dtype` is what users see
        self._half = self._dtype == _arrays.BFLOAT16
        self._first = self._seen()[0]
        self._plain = not self._half and not self._place.on_device  # may go the short native way
        if self._half and precision == "high":
            _bfloat16.check_precision(precision)
        self._precision = "medium" if self._half else precision or "highest"
        self._backend_name = backend
        self._backend = self._place.resolve(backend, checked[0])
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
        slope = options.get("negative_slope", 0.0)
        weights = random_weights(widths, seed, dtype, slope)
        return cls(weights, **options)

    # What it is ----------------------------------------------------------------------------------

    @property
    def weights(self) -> tuple[Any, ...]:
        """Read-only views of the weights, first layer first; what `fit` writes shows in them.

        On a device, whose libraries have no read-only arrays, they are the weights themselves:
        change them by `set_weights` only.
        """
        if self._place.on_device:
            return tuple(self._weights)
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
        return _bfloat16.public_dtype() if self._half else self._dtype

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
        """For pickle and copy: class, weights and options, packed anew; attributes added."""
        options = (self._negative_slope, self._precision, self._backend_name)
        weights = [self._place.copied(w) for w in self._seen()]
        return _rebuild, (type(self), weights, *options), self._added() or None

    def _added(self) -> dict[str, Any]:
        """Attributes of a subclass, or that somebody set."""
        return {name: value for name, value in vars(self).items() if name not in _own_names()}

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Replace the weights by others of the same shapes and dtype; they are copied.

        Closures and linearisations made before raise RuntimeError from now on. Not to be called,
        nor `homfast.fit`, while other threads compute with this network: they may see some layers
        with new weights and some with old ones. Threads that only compute may share a network.
        """
        place, checked = checked_weights(weights)
        own = self._seen()
        shapes, wanted = [w.shape for w in checked], [w.shape for w in own]
        if shapes != wanted:
            raise ValueError(f"weights: got shapes {shapes}, wanted {wanted}; make a new network?")
        if checked[0].dtype != self._dtype:
            came = _arrays.dtype_name(checked[0].dtype)
            raise TypeError(f"weights: got dtype {came}, wanted {self.dtype}")
        if place is not self._place:
            places = {True: "a GPU", False: "the CPU"}
            raise TypeError(
                f"weights: got arrays on {places[place.on_device]} for a network on "
                f"{places[self._place.on_device]}; move them there yourself, homfast never does"
            )
        place.check_same_place(own[0], "the weights of the network", checked[0], "weights[0]")
        copies = [place.copied(w) for w in checked]  # a new weight may be a view of an old one
        with interrupts.held_back():
            try:
                for target, new in zip(self._weights, copies, strict=True):
                    place.assign(target, new)
            finally:  # a signal handler may raise, of SIGALRM for instance
                self._weights_changed()

    def to(self, like: Any) -> ReLUNetwork:
        """A copy of this network, of its class, with the dtype, and on the device, of ``like``."""
        if isinstance(like, (str, type, np.dtype)):
            raise TypeError(
                f"like: got {like!r}, wanted an array whose dtype the network is to have, for "
                "instance np.empty(0, np.float64)"
            )
        place = _places.place_of(like)
        target = place.checked_array(like, "like", _arrays.LAYER_DTYPES)
        operands = [self._place.to_host(w) for w in self._operands]  # float32 or float64
        if target.dtype == _arrays.BFLOAT16:
            singles = [w.astype(np.float32) for w in operands]
            backend = _backends.automatic() if self._place.on_device else self._backend
            weights = [_bfloat16.narrow(backend, w) for w in singles]
        else:
            weights = [w.astype(target.dtype) for w in operands]
        if place.on_device:
            weights = [place.upload(w, like) for w in weights]
        moved = place is not self._place
        made = _rebuild(
            type(self),
            weights,
            self._negative_slope,
            "highest" if self._half else self._precision,
            None if moved else self._backend_name,  # that named takes no arrays of there
        )
        vars(made).update(self._added())
        return made

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
        if self._plain:
            result = self._chain.plain(x, out)
            if result is not None:
                return result
        inputs = self._check(x, "x", self.widths[0])
        place, shape = self._place, (*inputs.shape[:-1], self.widths[-1])
        target, finish = place.prepare_out(out, shape, self._dtype, (inputs,))
        rows = self._enter(place.as_rows(inputs))
        values = self._room(rows, self.widths[-1]) if self._half else target
        self._chain.forward(rows, [], [], values)
        if self._half:
            _bfloat16.narrow(self._backend, values, target, place)
        result = finish()
        return result if out is not None else place.result_like(result, x)

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
        place = self._place
        traced = self._training.trace(x) if self._plain else None
        plain = traced is not None
        if traced is None:
            inputs = self._check(x, "x", self.widths[0])
            rows = self._enter(place.as_rows(inputs))
            shape = (*inputs.shape[:-1], self.widths[-1])
            traced = self._training.trace(place.contiguous(place.kept(rows, x)))
            y = place.reshaped(self._leave(traced[0]), shape)
        else:
            y = traced[0]
            shape = y.shape
        trace, version, traced_shape = traced[1], self._version, tuple(traced[0].shape)

        def vjp(grad_output: Any) -> tuple[Any, list[Any]]:
            if version != self._version:
                self._check_version(version, "vjp")
            pulled = trace.pull_back(grad_output, True) if plain else None
            if pulled is not None:
                return pulled
            grad = self._check(grad_output, "grad_output", self.widths[-1])
            if grad.shape != shape:
                raise ValueError(f"grad_output: got shape {grad.shape}, wanted {shape}, that of y")
            rows = place.contiguous(self._enter(place.as_rows(grad)))
            grad_input, grad_weights = trace.pull_back(place.reshaped(rows, traced_shape), True)
            grad_input = place.reshaped(self._leave(grad_input), (*shape[:-1], self.widths[0]))
            return (
                place.result_like(grad_input, grad_output),
                [place.result_like(self._leave(g), grad_output) for g in grad_weights],
            )

        return place.result_like(y, x), vjp

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
        plain = self._training.jvp(x, v) if self._plain else None
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
        ValueError
            More than 4096 layers.
        """
        storage.write(self, path)

    @classmethod
    def load(cls, path: Any, *, backend: str | None = None) -> ReLUNetwork:
        """Read a network that `save` wrote. Nothing in the file is executed.

        Raises
        ------
        ValueError
            The file is not a network: not safetensors, no or missing layers, more than 4096, a
            header beyond 1 MiB, widths that do not chain.
        """
        weights, options = storage.read(path)
        if backend is not None:
            _backends.resolve(backend, weights[0])  # an error of the caller's, not of the file
        try:
            return cls(weights, backend=backend, **options)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"path: {path} holds no network: {storage.short(str(error))}"
            ) from error

    # Within the package --------------------------------------------------------------------------

    def _pack(self) -> None:
        self._operands = self._weights
        if self._half:
            self._operands = [_bfloat16.widen(self._backend, w, self._place) for w in self._weights]
        self._packed = [self._backend.pack_weight(w, self._precision) for w in self._operands]
        self._chain = self._backend.pack_network(self._packed, self._negative_slope)
        self._training = self._backend.pack_training(self._chain)

    def _weights_changed(self) -> None:
        """Call after the arrays in ``_weights`` were written to."""
        self._version += 1
        if self._half:
            for own, wide in zip(self._weights, self._operands, strict=True):
                _bfloat16.widen(self._backend, own, self._place, wide)
        for handle in self._packed:
            if hasattr(handle, "refresh"):  # not a plain array
                handle.refresh()

    def _check_version(self, version: int, name: str) -> None:
        if version != self._version:
            raise RuntimeError(
                f"{name}: the weights of the network changed since it was made; make a new one"
            )

    def _enter(self, rows: Any) -> Any:
        """Checked rows as kernels take them."""
        return _bfloat16.widen(self._backend, rows, self._place) if self._half else rows

    def _leave(self, values: Any) -> Any:
        """A result of kernels in the dtype of the weights."""
        return _bfloat16.narrow(self._backend, values, place=self._place) if self._half else values

    def _room(self, rows: Any, features: int) -> Any:
        """New rows for what kernels write, one for each of `rows`."""
        dtype = np.dtype(np.float32) if self._half else self._dtype
        return self._place.empty((rows.shape[0], features), dtype, rows)

    def _seen(self) -> list[Any]:
        """The weights as checks see them."""
        if not self._place.on_device:
            return self._weights
        dtypes = (self._dtype,)
        return [self._place.checked_array(w, "weights", dtypes) for w in self._weights]

    def _check(self, array: Any, name: str, features: int) -> Any:
        checked = self._place.checked_array(array, name, _arrays.LAYER_DTYPES)
        if self._place.on_device:
            self._place.check_same_place(self._first, "the weights of the network", checked, name)
        if checked.dtype != self._dtype:
            came = _arrays.dtype_name(checked.dtype)
            raise TypeError(
                f"{name}: got {came}, wanted {self.dtype}, the dtype of the weights; "
                f"pass {name}.astype(net.dtype) or use net.to({name})"
            )
        if checked.ndim == 0 or checked.shape[-1] != features:  # no message made for nothing
            _arrays.check_last_axis(checked, name, features, f"widths {self.widths}")
        return checked


def _rebuild(
    kind: type[ReLUNetwork],
    weights: Sequence[Any],
    negative_slope: float,
    precision: str,
    backend: str | None,
) -> ReLUNetwork:
    """Not by a call of `kind`, whose arguments may be others."""
    net = kind.__new__(kind)
    ReLUNetwork.__init__(
        net, weights, negative_slope=negative_slope, precision=precision, backend=backend
    )
    return net


@functools.cache
def _own_names() -> frozenset[str]:
    """Of the attributes that every network has."""
    return frozenset(vars(ReLUNetwork([np.ones((1, 1))], backend="reference")))
