"""Somebody's own model by `package.module:factory`: the one place that runs code not ours."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from torch import nn

from dmt.errors import EnvironmentFault, SettingError
from dmt.models.hub import first_line

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_factory(spec: str) -> bool:
    """Whether a spec is written as a factory's path; nothing is imported."""
    return _FACTORY.fullmatch(spec) is not None and not spec.startswith("timm:")


def create(spec: str, num_classes: int, pretrained: bool, allowed_factory: bool) -> nn.Module:
    """What a factory returns for K classes.

    Raises:
        SettingError: it may not run, cannot be imported, fails, or returns no module.
        EnvironmentFault: pre-trained weights were asked for.
    """
    if not allowed_factory:
        raise SettingError(
            f"model={spec} is code that only this run's folder names; read it, then allow it with "
            "trust_code=true"
        )
    if pretrained:
        raise EnvironmentFault(
            f"model={spec} is your own code, so there are no pre-trained weights to fetch; set "
            "weights=none and load them in the factory"
        )
    factory = _import_factory(spec)
    try:
        module = factory(num_classes=num_classes)
    except Exception as error:  # whatever somebody's factory raises is theirs to mend
        raise SettingError(
            f"model={spec}: calling it with num_classes={num_classes} failed ({reason(error)})"
        ) from error
    if not isinstance(module, nn.Module):
        raise SettingError(
            f"model={spec} must return a torch.nn.Module, not {type(module).__name__}"
        )
    return module


def _import_factory(spec: str) -> Any:
    path, _, attributes = spec.partition(":")
    # The installed command does not look into the working folder, where such a file usually is.
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(path)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except Exception as error:  # an import runs somebody's code, which may raise anything
        raise SettingError(
            f"model={spec} cannot be imported ({reason(error)}); it is looked for in {here} and "
            "on PYTHONPATH"
        ) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not callable(found):
        raise SettingError(f"model={spec} names no function but a {type(found).__name__}")
    return found


def reason(error: Exception) -> str:
    """What somebody's code raised, in a few words."""
    return f"{type(error).__name__}: {first_line(error)}"
