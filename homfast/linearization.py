"""A network with its masks frozen at a point: the Jacobian as an operator, one bit a unit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _arrays

# Rows of Jacobians computed at a time are bounded so that the widest buffer stays near this size.
_JACOBIAN_BYTES = 1 << 25


class Linearization:
    """``J(x)`` of a bias-free ReLU network; made by `ReLUNetwork.linearize`.

    Attributes
    ----------
    output : array, shape (..., out_features)
        The network at `x`.

    Notes
    -----
    It raises RuntimeError once the network's weights have changed.
    """

    def __init__(self, net: Any, x: Any):
        place, inputs = net._place, net._check(x, "x", net.widths[0])
        self._net = net
        self._version = net._version
        self._batch = inputs.shape[:-1]
        rows = net._enter(place.as_rows(inputs))
        self._masks = place.empty_masks(rows.shape[0], net.widths[1:-1], rows)
        output = net._room(rows, net.widths[-1])
        net._chain.forward(rows, self._masks, [], output)
        output = place.reshaped(net._leave(output), (*self._batch, net.widths[-1]))
        self.output = place.result_like(output, x)

    def __call__(self, v: Any) -> Any:
        """`forward`."""
        return self.forward(v)

    def __reduce__(self) -> Any:
        """A copy of the network would not know whether its weights changed since."""
        raise TypeError(
            "a Linearization belongs to its network and is not copied or pickled; pickle the "
            "network and the point, and linearize again"
        )

    def __repr__(self) -> str:
        return f"Linearization(shape={self.shape}, dtype={_arrays.dtype_name(self._net.dtype)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., out_features, in_features)."""
        return (*self._batch, self._net.widths[-1], self._net.widths[0])

    def forward(self, v: Any) -> Any:
        """``J v`` for each row.

        Parameters
        ----------
        v : array, shape (..., in_features)
            Leading axes as those of `x`; if `x` was one vector, any.

        Returns
        -------
        array, shape (..., out_features)
        """
        net = self._net
        rows, masks, batch = self._prepare(v, "v", net.widths[0])
        out = net._room(rows, net.widths[-1])
        net._chain.forward_masked(rows, masks, out)
        out = net._place.reshaped(net._leave(out), (*batch, net.widths[-1]))
        return net._place.result_like(out, v)

    def adjoint(self, u: Any) -> Any:
        """``J^T u`` for each row.

        Parameters
        ----------
        u : array, shape (..., out_features)
            Leading axes as those of `x`; if `x` was one vector, any.

        Returns
        -------
        array, shape (..., in_features)
        """
        net = self._net
        rows, masks, batch = self._prepare(u, "u", net.widths[-1])
        result = net._room(rows, net.widths[0])
        net._chain.adjoint(rows, masks, result)
        result = net._place.reshaped(net._leave(result), (*batch, net.widths[0]))
        return net._place.result_like(result, u)

    def _prepare(self, array: Any, name: str, features: int) -> tuple[Any, list[Any], Any]:
        self._net._check_version(self._version, "linearize")
        checked = self._net._check(array, name, features)
        batch = checked.shape[:-1]
        if self._batch and batch != self._batch:
            raise ValueError(
                f"{name}: got shape {checked.shape}, wanted {(*self._batch, features)}, "
                "the leading axes of x"
            )
        rows = self._net._enter(self._net._place.as_rows(checked))
        masks = self._masks
        if not self._batch:
            masks = self._net._place.broadcast_rows(masks, rows.shape[0])
        return rows, masks, batch


def jacobian(net: Any, x: Any) -> Any:
    """Jacobians of `net` at the rows of `x`, by pulling back the rows of the identity."""
    if net._place.on_device:
        return _jacobian_on_device(net, x)
    inputs = net._check(x, "x", net.widths[0])
    in_features, out_features = net.widths[0], net.widths[-1]
    rows = _arrays.as_rows(inputs)
    dtype = net._operands[0].dtype
    result = np.empty((rows.shape[0], out_features, in_features), dtype)
    identity = np.eye(out_features, dtype=dtype)
    row_bytes = max(1, out_features) * max(1, *net.widths) * dtype.itemsize
    step = max(1, _JACOBIAN_BYTES // row_bytes)
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        masks = [np.repeat(m, out_features, axis=0) for m in Linearization(net, part)._masks]
        grads = np.ascontiguousarray(np.tile(identity, (part.shape[0], 1)))
        into = result[start : start + step].reshape(grads.shape[0], in_features)
        net._chain.adjoint(grads, masks, into)
    result = net._leave(result.reshape(rows.shape[0] * out_features, in_features))
    return _arrays.result_like(result.reshape(*inputs.shape[:-1], out_features, in_features), x)


def _jacobian_on_device(net: Any, x: Any) -> Any:
    """Likewise, a row of the identity at a time: the library need not repeat masks or rows."""
    linearized = Linearization(net, x)
    place, batch = net._place, linearized._batch
    in_features, out_features = net.widths[0], net.widths[-1]
    output = place.checked_array(linearized.output, "output", _arrays.LAYER_DTYPES)
    count = math.prod(batch)
    dtype = np.dtype(np.float32) if net._half else net._dtype
    result = place.empty((count, out_features, in_features), dtype, output)
    identity = place.upload(np.eye(out_features, dtype=dtype), output.array)
    for unit in range(out_features if count and in_features else 0):
        grads = place.broadcast_rows([identity[unit : unit + 1]], count)[0]
        net._chain.adjoint(grads, linearized._masks, result[:, unit])
    rows = place.reshaped(result, (count * out_features, in_features))
    return place.reshaped(net._leave(rows), (*batch, out_features, in_features))
