"""Models of ``torch.nn`` made ours: copied, or swapped in place."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from homfast import _arrays
from homfast.torch.checks import DTYPES
from homfast.torch.modules import FusedSequential, LinearReLU, ReLUNetwork
from homfast.torch.plan import (
    ACTIVATIONS,
    Part,
    is_as_built,
    is_plain_activation,
    is_plain_linear,
    parts,
    slope_of,
)

_BIAS = (
    "has a bias, and with one no map is positively homogeneous: train with bias=False, or turn the "
    "network into one without by homfast.construct.homogenize(weights, biases)"
)
_ALONE = (
    "no ReLU follows it, or precedes it in a run, in an nn.Sequential: alone it would gain "
    "nothing; in a forward of your own call homfast.torch.linear_relu or relu_network"
)
# Of modules that run their children one after the other.
_FORWARDS = (nn.Sequential.forward, FusedSequential.forward)


@dataclass
class Replacement:
    """What `replace` did.

    Attributes
    ----------
    model : torch.nn.Module
        The model that was passed in.
    replaced : dict of str to str
        By the name of a module in the model, what it became.
    kept : dict of str to str
        By the name of a linear layer that runs as before, why.
    """

    model: nn.Module
    replaced: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"replaced {name or 'the model'}: {what}" for name, what in self.replaced.items()]
        lines += [f"kept {name or 'the model'}: {why}" for name, why in self.kept.items()]
        return "\n".join(lines) or "nothing to replace: no linear layer that homfast does not run"


def replace(model: nn.Module, *, precision: str = "highest") -> Replacement:
    """Run the bias-free layers of `model` with homfast from now on, in place.

    Each ``nn.Sequential`` in the model, or the model itself, that has a run ``Linear(bias=False),
    ReLU, ...`` becomes a `FusedSequential`, or a `ReLUNetwork` if the run is all there is.
    Children, names, hooks of the container and the very same Parameter objects stay, so that state
    dicts and optimizers go on as they are.

    Parameters
    ----------
    model : torch.nn.Module
    precision : {"highest", "high", "medium"}
        Accuracy of float32 products, as in `homfast.linear`.

    Returns
    -------
    Replacement
        What was replaced, and for each linear layer that was not, why; print it.

    Raises
    ------
    TypeError
        `model` is no module.

    Examples
    --------
    >>> import homfast.torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    >>> print(homfast.torch.replace(model))
    replaced the model: ReLUNetwork of widths (4, 8, 2)
    """
    _check_module(model)
    _arrays.check_precision(precision)
    report = Replacement(model)
    taken: set[nn.Module] = set()
    reasons: dict[nn.Module, str] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        known = type(module) is nn.Sequential or isinstance(module, FusedSequential)
        if not known or "forward" in module.__dict__:
            why = f"stands in a {type(module).__name__} that may compute something else"
            reasons.update((child, why) for child in module)
            continue
        found = parts(module)
        runs = [part for part in found if part.weights() is not None]
        taken.update(child for part in runs for child in part.children)
        reasons.update(_why_apart(found))
        if not runs or isinstance(module, FusedSequential):
            continue
        whole = len(found) == 1 and not runs[0].last_relu
        _become(module, ReLUNetwork if whole else FusedSequential, precision)
        widths = ", ".join(str(_widths(part.weights() or [])) for part in runs)
        what = f"{type(module).__name__} of widths {widths}"
        if not whole:
            fused = sum(len(part.children) for part in runs)
            what += f", {fused} of {len(module)} children in its ops"
        report.replaced[name] = what
    for name, module in model.named_modules():
        ours = module in taken or isinstance(module, LinearReLU)
        if isinstance(module, nn.Linear) and not ours:
            report.kept[name] = _why_not(module) or reasons.get(module, _ALONE)
    return report


def from_sequential(model: nn.Sequential, *, precision: str = "highest") -> ReLUNetwork:
    """A copy of an ``nn.Sequential`` of bias-free linear layers and ReLUs, as one op.

    Parameters
    ----------
    model : torch.nn.Sequential
        ``Linear(bias=False), ReLU, Linear(bias=False), ...``, the last child linear; ``LeakyReLU``
        of one slope is a ReLU too. It is left as it is.
    precision : {"highest", "high", "medium"}
        Accuracy of float32 products, as in `homfast.linear`.

    Returns
    -------
    ReLUNetwork
        With copies of the parameters, on their device, and the same state dict.

    Raises
    ------
    TypeError
        `model` is no ``nn.Sequential``, or has a ``forward`` of its own.
    ValueError
        It is not such a chain; the message names the child, and what to do.
    """
    _check_module(model)
    _arrays.check_precision(precision)
    if not isinstance(model, nn.Sequential):
        raise TypeError(
            f"model: got {type(model).__name__}, wanted a torch.nn.Sequential; replace(model) "
            "looks for them inside of other modules"
        )
    if "forward" in model.__dict__ or type(model).forward not in _FORWARDS:
        raise TypeError(
            f"model: got a {type(model).__name__} with a forward of its own, which a ReLUNetwork "
            "would not have, wanted a torch.nn.Sequential; pass nn.Sequential(*model) if its "
            "children one after the other are what you mean"
        )
    names, children = list(model._modules), list(model)
    for index, child in enumerate(children):
        wanted = (nn.Linear,) if index % 2 == 0 else ACTIVATIONS
        problem = f"is a {type(child).__name__}, wanted {wanted[0].__name__}"
        if type(child) in wanted:
            problem = _why_not(child)
        if problem:
            raise ValueError(
                f"model: {names[index]!r} {problem}; homfast.torch.replace(model) takes what fits "
                "and leaves the rest"
            )
    if len(model) % 2 == 0:
        raise ValueError(
            f"model: got {len(model)} children, the last "
            f"{type(model[-1]).__name__ if len(model) else 'missing'}, wanted Linear, ReLU, ..., "
            "Linear; homfast.torch.replace(model) takes networks that end in a ReLU"
        )
    slopes = {slope_of(child) for child in children[1::2]}
    if len(slopes) > 1:
        raise ValueError(f"model: got negative slopes {sorted(slopes)}, wanted one")
    copied: Any = copy.deepcopy(model)
    _become(copied, ReLUNetwork, precision)
    return copied


def _become(module: Any, kind: type[FusedSequential], precision: str) -> None:
    """What stands for `module` elsewhere, in a parent or in a training loop, is `kind` too."""
    module.__class__ = kind
    module.precision = precision


def _check_module(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, wanted a torch.nn.Module")


def _why_not(child: nn.Module) -> str:
    """Why a linear layer or an activation is in no op, whatever stands beside it."""
    if isinstance(child, nn.modules.lazy.LazyModuleMixin):
        return "has no weight yet; run the model once, and replace it then"
    if type(child) not in (nn.Linear, *ACTIVATIONS):
        return f"is a {type(child).__name__}, which may compute something else"
    if child._parameters.get("bias") is not None:
        return _BIAS
    plain = is_plain_linear if type(child) is nn.Linear else is_as_built
    if not plain(child):
        return (
            "has hooks, a forward of its own, or a weight that is made in each call, which one op "
            "would not see"
        )
    if type(child) is nn.Linear:
        known = child.weight.dtype in DTYPES
        return "" if known else f"is {child.weight.dtype}, in which homfast has no products"
    if not is_plain_activation(child):
        return f"has the slope {slope_of(child)}, wanted one that is finite in float32"
    return ""


def _why_apart(found: list[Part]) -> dict[nn.Module, str]:
    """By layers of an ``nn.Sequential`` that are in no op, what beside them is the reason."""
    reasons: dict[nn.Module, str] = {}
    for part, after in itertools.zip_longest(found, found[1:]):
        if part.slope is not None:  # a run: in no op only for its dtypes
            why = "stands in one run with a layer of a dtype in which homfast has no products"
            reasons.update((child, why) for child in part.children)
        elif after is not None and type(after.children[0]) in ACTIVATIONS:
            activation = after.children[0]
            why = f"the {type(activation).__name__} after it {_why_not(activation)}"
            reasons[part.children[-1]] = why
    return reasons


def _widths(weights: list) -> tuple[int, ...]:
    return (weights[0].shape[1], *(w.shape[0] for w in weights))
