"""What the adapters of libraries on PyTorch share: parameters that are given, noise that is given, and the states of a walk.

The model of a case of samplers is part of the question: it is minidiff's exact one, on PyTorch's tensors, or a U-Net, which is diffusers'.
The walk is the library's.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import Any
from unittest.mock import patch

import torch
from torch.func import functional_call

from minidiff.diffusion import Process, edm_precondition
from minidiff.verify.adapters.minidiff.samplers import model_of as exact_model_of
from minidiff.verify.adapters.minidiff.samplers import process_of
from minidiff.verify.implementation import Unsupported


def refuse(library: str, lacks: Mapping[str, bool]) -> None:
    """Raise Unsupported for the first of these that is true: what the library does not have, in words."""
    for what, lacking in lacks.items():
        if lacking:
            raise Unsupported(f"{library} has no {what}")


def model_of(inputs: Mapping[str, Any], settings: Mapping[str, Any], process: Process) -> Callable[[Any, Any], Any]:
    """The model of a case, a function of (x, t), both tensors or t a number. Raises Unsupported for a U-Net where diffusers is missing."""
    told = settings["model"]
    if told["kind"] != "unet":
        return exact_model_of(inputs, settings, process)
    network = network_of(inputs, told)
    return edm_precondition(network, told["sigma_data"]) if "sigma_data" in told else network


def network_of(inputs: Mapping[str, Any], told: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    """The U-Net of a case alone, without preconditioning."""
    try:
        from minidiff.verify.adapters.diffusers.networks import unet_of
    except ImportError as error:
        raise Unsupported("PyTorch alone has no U-Net: install diffusers") from error
    return unet_of(inputs, {name: value for name, value in told.items() if name not in ("kind", "sigma_data")})


def model_of_sigma(inputs: Mapping[str, Any], settings: Mapping[str, Any], prediction_type: str) -> Callable[[Any, float], Any]:
    """The model of a case on x_0 + sigma eps, a function of (x, sigma), which predicts epsilon or x_0 ("sample"), as the library wants."""
    model = model_of(inputs, settings, process_of(settings["process"]))
    start = {"epsilon": lambda x, sigma, found: x - sigma * found, "sample": lambda x, sigma, found: found,
             "score": lambda x, sigma, found: x + sigma**2 * found}

    def predict(x: Any, sigma: float) -> Any:
        found = model(x, sigma)
        if settings["prediction_type"] == prediction_type:
            return found
        x_0 = start[settings["prediction_type"]](x, sigma, found)
        return x_0 if prediction_type == "sample" else (x - x_0) / sigma

    return predict


@contextmanager
def drawing(noise: Sequence[torch.Tensor], *places: tuple[Any, str]) -> Iterator[None]:
    """Let the functions that draw noise give these one after the other, and again from the first if a library draws more."""
    draws = cycle(noise)
    with ExitStack() as stack:
        for owner, name in places:
            stack.enter_context(patch.object(owner, name, lambda *args, **options: next(draws)))
        yield


def outputs(settings: Mapping[str, Any], end: torch.Tensor, states: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The outputs of a walk: its end, and, if the case asks for them, x before each step and the end."""
    return {"output": end} | ({"states": torch.stack([*states, end])} if settings.get("states") else {})


def alone(package: str, file: str, stand_ins: Mapping[str, Mapping[str, Any]]) -> Any:
    """The module `package.file`, without what the rest of the package imports. Raises ImportError if the package is not there.

    While it is read, an empty package stands in the place of its own, and in the places of `stand_ins` modules with these names in them:
    of libraries for training, for reading images, that no operation calls and that need not be installed.
    """
    found = importlib.util.find_spec(package)
    if found is None:
        raise ImportError(f"no module named {package!r}")
    modules = {name: types.ModuleType(name) for name in (package, *stand_ins)}
    modules[package].__path__ = list(found.submodule_search_locations)
    for name, contents in stand_ins.items():
        vars(modules[name]).update(contents)
        parent, _, child = name.rpartition(".")
        if parent in modules:
            setattr(modules[parent], child, modules[name])
    ours = lambda key: key in modules or key.startswith(f"{package}.")
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if ours(key)}
    sys.modules.update(modules)
    try:
        return importlib.import_module(f"{package}.{file}")
    finally:
        for key in [key for key in sys.modules if ours(key)]:
            del sys.modules[key]
        sys.modules.update(before)


def called(module: torch.nn.Module, inputs: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
    """The module with the parameters among the inputs; all of its parameters must be there."""
    names = [name for name, _ in module.named_parameters()]
    return functional_call(module.eval(), {name: inputs[name] for name in names}, arguments, options)


def learning_rates(get_scheduler: Callable[..., Any]) -> Callable[..., torch.Tensor]:
    """The operation learning_rate_at of a library with such a function: the rate at the k-th step of the optimizer, k = 1, 2 ..."""
    def learning_rate_at(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> torch.Tensor:
        name = {"constant": "constant_with_warmup"}.get(settings["lr_schedule"], settings["lr_schedule"])
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], settings["learning_rate"])
        schedule = get_scheduler(name, optimizer, num_warmup_steps=settings["warmup_steps"], num_training_steps=settings["total_steps"])
        rates = []
        for _ in range(int(inputs["step"].max())):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        return torch.tensor([rates[k - 1] for k in inputs["step"].tolist()], dtype=torch.float64)

    return learning_rate_at
