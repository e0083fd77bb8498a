"""Optimizers, with the names and rules of `torch.optim`: each changes the parameters that it was given by the gradients they hold.

    optimizer = AdamW(model.parameters(), lr=1e-3)
    loss.backward(); optimizer.step(); optimizer.zero_grad()

A step gives each parameter a new array, so what holds the old one (a `state_dict`, a recorded graph) keeps it. `training.optimizer` applies
the same update (`adam_update`) to all parameters at once, in place, which is faster and which the package's own training does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor, enable_grad

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]


def adam_update(
    xp: Any, theta: Any, m: Any, v: Any, g: Any, scratch: Any, *, step: int, lr: float, betas: tuple[float, float], eps: float,
) -> None:
    """One step of Adam, in place; theta, m, v and scratch are written to.

        m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2      Kingma & Ba 2015, Algorithm 1
        theta <- theta - lr m^ / (sqrt(v^) + eps),   m^ = m / (1 - beta1^k),   v^ = v / (1 - beta2^k)

    step: k = 1, 2, ... Arrays of one shape and of the library xp.
    """
    beta1, beta2 = betas
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    xp.multiply(g, 1 - beta1, out=scratch)
    m *= beta1
    m += scratch                                    # beta1 m + (1 - beta1) g
    xp.multiply(g, g, out=scratch)
    scratch *= 1 - beta2
    v *= beta2
    v += scratch                                    # beta2 v + (1 - beta2) g^2
    xp.sqrt(v, out=scratch)
    scratch /= math.sqrt(correction2)
    scratch += eps                                  # sqrt(v^) + eps
    xp.divide(m, scratch, out=scratch)
    scratch *= lr / correction1
    theta -= scratch                                # lr m^ / (sqrt(v^) + eps)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number, np.bool_))


def check_setting(owner: str, name: str, value: Any) -> None:
    """Raise ValueError for a setting without meaning: betas in [0, 1), the other numbers finite and at least 0; TypeError for no number."""
    if name == "betas":
        if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(_is_number(beta) and 0 <= beta < 1 for beta in value):
            raise ValueError(f"{owner}: betas={value}; expected two numbers in [0, 1)")
    elif not _is_number(value):
        raise TypeError(f"{owner}: {name}={value!r}; expected a number")
    elif name not in ("nesterov", "dampening") and not 0 <= value < math.inf:
        raise ValueError(f"{owner}: {name}={value}; expected a finite number of at least 0")


def _described(given: Any) -> str:
    return f"a dict of {', '.join(map(str, given)) or 'nothing'}" if isinstance(given, Mapping) else type(given).__name__


class Optimizer:
    """What all optimizers share: groups of parameters with settings of their own, and what is remembered of each parameter.

    params: Tensors, or groups: dicts with "params" and the settings that differ from `defaults`. param_groups: all groups, complete; change
    a setting there (`group["lr"]`) and it holds from the next step on. state: what is remembered, by the parameter's number.
    Raises ValueError for no parameters, one that is in two groups, and settings without meaning; TypeError for what is no leaf Tensor.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            instead = "model.parameters()" if hasattr(params, "parameters") else "[it]"
            raise TypeError(f"{type(self).__name__}: expected parameters in a list, got one {type(params).__name__}; give {instead}")
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, dict[str, Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: there are no parameters; was model.parameters() used up before?")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group: {"params": Tensor or Tensors, settings ...}. Raises as the constructor does; TypeError for an unknown setting."""
        kind = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{kind}: expected a group as a dict with 'params', got {_described(param_group)}")
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        unknown = [name for name in param_group if name not in self.defaults and name != "params"]
        if unknown:
            raise TypeError(f"{kind}: a group has the settings {', '.join(unknown)}; it takes {', '.join(self.defaults)}")
        group = {**self.defaults, **param_group, "params": params}
        for p in params:
            if not isinstance(p, Tensor) or p.node is not None:
                raise TypeError(f"{kind}: expected parameters, Tensors that were not computed from others, got {type(p).__name__}")
        numbers = [id(p) for p in [*self._parameters(), *params]]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{kind}: a parameter occurs twice; each is changed by one group")
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: dict[str, Any]) -> None:
        for name, value in group.items():
            if name != "params":
                check_setting(type(self).__name__, name, value)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient. closure: computes the loss and gradients first; then its result is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        number = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data = backend.asarray(self._updated(p.data, p.grad.data, self.state.setdefault(number, {}), group))
                number += 1
        return loss

    def _updated(self, theta: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """The new values for those of one parameter and their gradient; `state` is what is remembered of it."""
        raise TypeError(f"{type(self).__name__} defines no update")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters. ValueError for set_to_none=False, which is not offered."""
        if not set_to_none:
            raise ValueError("zero_grad: set_to_none=False is not offered: a gradient that is forgotten is None")
        for p in self._parameters():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """All that the optimizer remembers, as plain data: numbers, host arrays (copies), lists and dicts; parameters by their number."""
        numbers = iter(range(len(self._parameters())))
        groups = [{**group, "params": [next(numbers) for _ in group["params"]]} for group in self.param_groups]
        state = {number: {name: backend.to_numpy(value).copy() if hasattr(value, "shape") else value for name, value in one.items()}
                 for number, one in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; the parameters stay.

        Raises ValueError if the groups, parameters or shapes are others, and TypeError for what is no state; then nothing has changed.
        """
        kind, own = type(self).__name__, self._parameters()
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            raise TypeError(f"{kind}: expected what state_dict() returned, with 'state' and 'param_groups', got {_described(state_dict)}")
        for group in state_dict["param_groups"]:
            missing = [name for name in ("params", *self.defaults) if name not in group]
            if missing:
                raise ValueError(f"{kind}: a group of the state has no {', '.join(missing)}; it has {', '.join(group)}")
        sizes = [len(group["params"]) for group in self.param_groups]
        given = [len(group["params"]) for group in state_dict["param_groups"]]
        if given != sizes:
            raise ValueError(f"{kind}: the state is of groups of {given} parameters, here they have {sizes}")
        unknown = [number for number in state_dict["state"] if not str(number).isdecimal() or int(number) >= len(own)]
        if unknown:
            raise ValueError(f"{kind}: the state is also of parameter {unknown[0]!r}, here they are 0 to {len(own) - 1}")
        state: dict[int, dict[str, Any]] = {}
        for number, one in ((int(number), one) for number, one in state_dict["state"].items()):
            for name, value in one.items():
                if hasattr(value, "shape") and tuple(value.shape) != own[number].shape:
                    raise ValueError(f"{kind}: {name} of parameter {number} has shape {tuple(value.shape)}, expected {own[number].shape}")
            state[number] = {name: backend.asarray(backend.to_numpy(value).copy(), own[number].device, own[number].dtype)
                             if hasattr(value, "shape") else value for name, value in one.items()}
        groups = [{**saved, "params": group["params"]} for saved, group in zip(state_dict["param_groups"], self.param_groups)]
        for group in groups:
            self._check(group)
        self.state, self.param_groups = state, groups

    def __repr__(self) -> str:
        groups = [", ".join(f"{name}={value}" for name, value in group.items() if name != "params") + f", {len(group['params'])} parameters"
                  for group in self.param_groups]
        return f"{type(self).__name__}({'; '.join(groups)})"


class SGD(Optimizer):
    """Gradient descent, with momentum.

        b <- mu b + (1 - dampening) g  (at first b = g),   theta <- theta - lr b,       g with weight_decay theta added
        nesterov: theta <- theta - lr (g + mu b)                          Sutskever et al. 2013, Eqs. 1-4, in torch's form
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                  "nesterov": nesterov})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(f"SGD: nesterov=True needs a momentum above 0 and no dampening; got momentum={group['momentum']}, "
                             f"dampening={group['dampening']}")

    def _updated(self, theta: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        mu = group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * theta
        if mu:
            before = state.get("momentum_buffer")
            state["momentum_buffer"] = b = g if before is None else mu * before + (1 - group["dampening"]) * g
            g = g + mu * b if group["nesterov"] else b
        return theta - group["lr"] * g


class Adam(Optimizer):
    """Adam; the update is `adam_update`. weight_decay is added to the gradient, as a penalty |theta|^2 would; see `AdamW`."""

    decoupled = False

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _updated(self, theta: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        xp = backend.array_module(theta)
        if not state:
            state.update(step=0, exp_avg=xp.zeros_like(theta), exp_avg_sq=xp.zeros_like(theta))
        state["step"] += 1
        lr, decay = group["lr"], group["weight_decay"]
        if decay and not self.decoupled:
            g = g + decay * theta
        theta = theta.copy()
        if self.decoupled:
            theta *= 1 - lr * decay
        adam_update(xp, theta, state["exp_avg"], state["exp_avg_sq"], g, xp.empty_like(theta), step=state["step"], lr=lr,
                    betas=group["betas"], eps=group["eps"])
        return theta


class AdamW(Adam):
    """Adam with decoupled weight decay: theta <- theta (1 - lr wd) before each step     Loshchilov & Hutter 2019, Algorithm 2"""

    decoupled = True

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
