"""Training a bias-free ReLU network on batches, with the optimizer's step fused into one pass."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.network import ReLUNetwork

_OPTIMIZERS = ("adam", "adamw", "sgd")
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # the defaults of torch.optim.Adam


class AdamCoefficients(NamedTuple):
    """Scalars of one Adam step; the kernels take them in this order.

    The step is ``w = decay_factor w``; ``g += weight_decay w``; ``m = beta1 m + (1 - beta1) g``;
    ``v = beta2 v + (1 - beta2) g^2``; ``w -= step_size m / (sqrt(v) root_correction + epsilon)``.
    """

    step_size: float
    beta1: float
    beta2: float
    epsilon: float
    root_correction: float
    weight_decay: float
    decay_factor: float


class History:
    """What `fit` returns.

    Attributes
    ----------
    loss : ndarray of float64, one entry a step
        The mean squared error of each step's batch, before its update.
    optimizer_state : dict
        Pass it to `fit` to go on where this run stopped.
    """

    def __init__(self, loss: np.ndarray, optimizer_state: dict[str, Any]):
        self.loss = loss
        self.optimizer_state = optimizer_state

    def __repr__(self) -> str:
        last = f", last loss {self.loss[-1]:.6g}" if len(self.loss) else ""
        return f"History({len(self.loss)} steps{last})"


def fit(
    net: ReLUNetwork,
    batches: Iterable[tuple[Any, Any]],
    *,
    steps: int | None = None,
    optimizer: str = "adam",
    learning_rate: float | Callable[[int], float],
    weight_decay: float = 0.0,
    optimizer_state: dict[str, Any] | None = None,
    progress: bool = False,
) -> History:
    """Train `net` in place by minimising the mean squared error.

    As for `ReLUNetwork.set_weights`, no other thread may compute with `net` meanwhile.

    Parameters
    ----------
    net : ReLUNetwork
    batches : iterable of (input, target)
        Rows (batch, in_features) and (batch, out_features) of the network's dtype.
    steps : int, optional
        How many batches to take; None takes all. Training also ends when `batches` does.
    optimizer : {"adam", "adamw", "sgd"}
        With the update rules and defaults of the torch optimizers of these names (sgd without
        momentum).
    learning_rate : float or callable
        A callable gets the step's number, counted from 0 over resumed runs.
    weight_decay : float
        As in torch: added to the gradient for "adam" and "sgd", decoupled for "adamw".
    optimizer_state : dict, optional
        ``history.optimizer_state`` of an earlier run of the same network and optimizer.
    progress : bool
        Show a progress bar if tqdm is installed and standard error is a terminal.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        The loss of a step is not finite, and its update not made; or an update overflowed, and the
        weights, or second moments, are not finite. The message names the step.
    ValueError, TypeError
        Arguments or batches that do not fit the network, named.

    Notes
    -----
    The loss is ``mean((net(input) - target)^2)`` over all elements, as torch's ``mse_loss``.
    KeyboardInterrupt leaves the network as the last whole step made it.
    """
    _check_arguments(net, batches, steps, optimizer, weight_decay, progress)
    if not callable(learning_rate):
        _check_amount(learning_rate, "learning_rate", net.dtype)
    if optimizer_state is None:
        state = _initial_state(net, optimizer)
    else:
        _check_state(optimizer_state, net, optimizer)
        state = _copied_state(optimizer_state, net)
    decay = float(weight_decay)
    losses: list[float] = []
    try:
        for batch in _counted(batches, steps, progress):
            inputs, target = _check_batch(net, batch)
            step = state["step"]
            rate = learning_rate(step) if callable(learning_rate) else learning_rate
            rate = _check_amount(rate, "learning_rate", net.dtype)
            losses.append(_step(net, inputs, target, state, rate, decay))
    finally:
        net._weights_changed()
    return History(np.array(losses, np.float64), state)


def _step(
    net: ReLUNetwork,
    inputs: np.ndarray,
    target: np.ndarray,
    state: dict[str, Any],
    rate: float,
    weight_decay: float,
) -> float:
    """One step, and its loss. One that is not finite leaves everything as it was, and raises."""
    adam: tuple[float, ...] = ()
    if state["optimizer"] != "sgd":
        step = state["step"] + 1
        decoupled = state["optimizer"] == "adamw"
        adam = AdamCoefficients(
            step_size=rate / (1.0 - _BETA1**step),
            beta1=_BETA1,
            beta2=_BETA2,
            epsilon=_EPSILON,
            root_correction=1.0 / math.sqrt(1.0 - _BETA2**step),
            weight_decay=0.0 if decoupled else weight_decay,
            decay_factor=1.0 - rate * weight_decay if decoupled else 1.0,
        )
    first, second = state.get("first_moment", []), state.get("second_moment", [])
    loss, finite = net._training.fit_step(inputs, target, adam, rate, weight_decay, first, second)
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"fit: the loss is {loss} at step {state['step']}; lower the learning rate, or look "
            "for non-finite values in the batch or the weights"
        )
    state["step"] += 1
    net._version += 1
    if not finite:
        raise FloatingPointError(
            "fit: weights or moments are not finite after the update of step "
            f"{state['step'] - 1}; lower the learning rate, scale the batches, or look for weights "
            "that were not before"
        )
    return loss


def _initial_state(net: ReLUNetwork, optimizer: str) -> dict[str, Any]:
    state: dict[str, Any] = {"optimizer": optimizer, "step": 0}
    if optimizer != "sgd":
        state["first_moment"] = [net._place.zeros_like(w) for w in net._weights]
        state["second_moment"] = [net._place.zeros_like(w) for w in net._weights]
    return state


def _copied_state(state: dict[str, Any], net: ReLUNetwork) -> dict[str, Any]:
    """A copy to go on with: the earlier history may be continued otherwise."""
    if not net._place.on_device:
        return copy.deepcopy(state)
    moments: dict[str, Any] = {
        name: [net._place.copied(_moment(net, m, name)) for m in state[name]]
        for name in ("first_moment", "second_moment")
        if name in state
    }
    return {**state, **moments}


def _moment(net: ReLUNetwork, moment: Any, name: str) -> Any:
    """A moment as the checks of a device see it, beside the weights."""
    checked = net._place.checked_array(moment, f"optimizer_state: {name}")
    net._place.check_same_place(net._seen()[0], "the weights", checked, f"optimizer_state: {name}")
    return checked


def _check_amount(value: Any, name: str, dtype: np.dtype) -> float:
    """A learning rate or weight decay as a float that `dtype` holds, too."""
    wanted = f"a number, 0 <= {name} < infinity in {dtype}, the dtype of the weights"
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{name}: got {type(value).__name__}, wanted {wanted}")
    if not 0 <= value <= float(np.finfo(dtype).max):
        raise ValueError(f"{name}: got {str(value)[:24]}, wanted {wanted}")
    return float(value)


def _check_arguments(
    net: Any, batches: Any, steps: Any, optimizer: Any, weight_decay: Any, progress: Any
) -> None:
    if not isinstance(net, ReLUNetwork):
        raise TypeError(f"net: got {type(net).__name__}, wanted a homfast.ReLUNetwork")
    if net._half:
        raise TypeError(
            "net: got bfloat16 weights, in which small updates would be lost; train in float32 "
            "with precision='medium' and round at the end: net.to(a bfloat16 array)"
        )
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer: got {optimizer!r}, wanted one of {', '.join(_OPTIMIZERS)}")
    whole = isinstance(steps, (int, np.integer)) and not isinstance(steps, bool)
    if steps is not None and (not whole or steps < 0):
        raise ValueError(f"steps: got {steps!r}, wanted None or an integer >= 0")
    _arrays.check_flag(progress, "progress")
    if not isinstance(batches, Iterable):
        raise TypeError(
            f"batches: got {type(batches).__name__}, wanted an iterable of (input, target)"
        )
    _check_amount(weight_decay, "weight_decay", net.dtype)


def _check_state(state: Any, net: ReLUNetwork, optimizer: str) -> None:
    if not isinstance(state, dict) or "step" not in state:
        raise TypeError(
            f"optimizer_state: got {type(state).__name__}"
            f"{f' {list(state)}' if isinstance(state, dict) else ''}, wanted "
            "history.optimizer_state of an earlier run"
        )
    if state.get("optimizer") != optimizer:
        raise ValueError(
            f"optimizer_state: is that of {state.get('optimizer')!r}, wanted {optimizer!r}"
        )
    step = state["step"]
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 0:
        raise ValueError(f"optimizer_state: step is {step!r}, wanted an integer >= 0")
    wanted = [(w.shape, w.dtype) for w in net._seen()]
    for name in () if optimizer == "sgd" else ("first_moment", "second_moment"):
        moments = state.get(name, ())
        if not isinstance(moments, (list, tuple)) or wanted != [
            net._place.shape_and_dtype(m) for m in moments
        ]:
            raise ValueError(
                f"optimizer_state: {name} does not have the shapes and dtype of the network"
            )
    if optimizer != "sgd" and any(
        (net._place.to_host(m) < 0).any() for m in state["second_moment"]
    ):
        raise ValueError("optimizer_state: second_moment has negative entries, wanted squares")


def _check_batch(net: ReLUNetwork, batch: Any) -> tuple[Any, Any]:
    try:
        inputs, target = batch
    except (TypeError, ValueError):
        raise TypeError(
            f"batches: one of them is {type(batch).__name__}, wanted pairs (input, target) of "
            "arrays; for one batch pass [(input, target)]"
        ) from None
    checked = net._check(inputs, "input", net.widths[0])
    wanted = net._check(target, "target", net.widths[-1])
    if checked.shape[:-1] != wanted.shape[:-1]:
        raise ValueError(
            f"target: got shape {wanted.shape}, wanted the leading axes {checked.shape[:-1]} of "
            "the input"
        )
    rows = net._place.as_rows(checked), net._place.as_rows(wanted)
    return tuple(map(net._place.contiguous, rows)) if net._place.on_device else rows


def _counted(batches: Iterable[Any], steps: int | None, progress: bool) -> Iterable[Any]:
    if steps is not None:
        iterator = iter(batches)
        batches = (batch for _, batch in zip(range(steps), iterator, strict=False))
    if progress and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            return batches
        return tqdm(batches, total=steps, unit="step")
    return batches
