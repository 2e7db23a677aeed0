"""Weights from a file of whatever origin: which tensor is whose. How files are read is beside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dmt.errors import SettingError
from dmt.models.network import Network
from dmt.models.tensor_files import read_tensors

_OWN = ("mean", "std")  # the preprocessing, which no other file has and settings decide
_COUNTER = "num_batches_tracked"  # older files lack it, and nothing depends on it
_MODULE = "module."
_BACKBONES = ("backbone.", "encoder.model.", "encoder.")
_SHOWN = 4

_Renaming = tuple[tuple[str, str], ...]  # regular expressions on our names, and what they become

# How others call our tensors, each within whatever prefix; the first is how we call them.
_LAYOUTS: tuple[_Renaming, ...] = (
    (),
    # The DMT authors' DeepLab, and the file for COCO that they start from.
    ((r"^aspp\.(\d+)\.", r"classifier.0.convs.\1."),),
    ((r"^aspp\.(\d+)\.", r"layer5.conv2d_list.\1."),),
    # timm's classifiers, beside its feature extractors.
    ((r"^(stem|stages|layers|blocks|features)_(\d+)\.", r"\1.\2."),),
    # The DMT authors' wide ResNet.
    (
        (r"^group(\d+)\.", r"block\1.layer."),
        (r"\.norm(\d)\.", r".bn\1."),
        (r"\.shortcut\.", ".convShortcut."),
        (r"^stem\.", "conv1."),
        (r"^norm\.", "bn1."),
        (r"^classifier\.", "fc."),
    ),
)


class Unfitting(NamedTuple):
    """A tensor that both have, in different shapes."""

    name: str
    there: tuple[int, ...]
    here: tuple[int, ...]

    def __str__(self) -> str:
        if self.there[1:] == self.here[1:] and self.there and self.here:
            return f"{self.name} ({self.there[0]} there, {self.here[0]} here)"
        return f"{self.name} ({_shape(self.there)} there, {_shape(self.here)} here)"


class LoadReport(NamedTuple):
    """What of a file fitted a network. BatchNorm's counters of batches are not counted."""

    file: str
    loaded: int
    total: int  # tensors of the network
    missing: tuple[str, ...]  # ours that the file lacks, left as initialised
    unfitting: tuple[Unfitting, ...]  # ours that it has in another shape, left as initialised
    unused: tuple[str, ...]  # the file's that have no place here
    same_colors: bool = True  # False: a file of our own, of a network with another mean or std

    def sentence(self) -> str:
        """The report in one sentence, with a few names of each kind."""
        parts = [f"weights of {self.file}: {self.loaded} of {self.total} tensors fit"]
        if left := [*map(str, self.unfitting), *self.missing]:
            parts.append(f"left as initialised: {_some(left)}")
        if self.unused:
            verb = "is" if len(self.unused) == 1 else "are"
            parts.append(f"{len(self.unused)} of the file's {verb} not used: {_some(self.unused)}")
        if not self.same_colors:
            parts.append("its network had another mean or std of the colours than this one")
        return "; ".join(parts)


def load_local(network: Network, path: Path, *, what: str = "weights") -> LoadReport:
    """Start a network from the tensors of a file that fit it; the others stay as they are.

    Files of our own runs, of torchvision, of timm, of the authors and whatever wraps their names
    in a prefix are understood. The preprocessing is not taken from the file.

    Args:
        network: on any device; unchanged if this raises.
        path: a safetensors file, or one of `torch.save` that holds nothing but tensors.
        what: the setting that named the file, for messages.

    Raises:
        SettingError: no such file, it is damaged or holds code, or fewer than half of the
            backbone's tensors fit.
    """
    theirs = read_tensors(path, what)
    colors = {name: theirs.pop(name) for name in _OWN if name in theirs}
    ours = {name: tensor for name, tensor in network.state_dict().items() if name not in _OWN}
    backbone, rest = _parts(ours)
    pairs = _match(backbone, ours, theirs)
    free = {name: tensor for name, tensor in theirs.items() if name not in pairs.values()}
    pairs |= _match(rest, ours, free)
    fitting = {own: it for own, it in pairs.items() if ours[own].shape == theirs[it].shape}
    if 2 * _count(own for own in fitting if own in backbone) < _count(backbone):
        raise _no_fit(network, path, what, fitting, backbone, theirs)
    with torch.no_grad():
        for own, it in fitting.items():
            ours[own].copy_(theirs[it])
    return LoadReport(
        str(path),
        _count(fitting),
        _count(ours),
        tuple(_short(name) for name in ours if name not in pairs and not _is_counter(name)),
        tuple(
            Unfitting(_short(own), tuple(theirs[it].shape), tuple(ours[own].shape))
            for own, it in pairs.items()
            if own not in fitting
        ),
        tuple(sorted(set(theirs) - set(pairs.values()))),
        all(_is_same(getattr(network, name), tensor) for name, tensor in colors.items()),
    )


def _parts(ours: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Our tensors of the backbone and the others, as our name: the name within the part.

    A network that has no part of that name is its own backbone.
    """
    names = [(name, _short(name)) for name in ours]
    for prefix in _BACKBONES:
        inside = {own: name[len(prefix) :] for own, name in names if name.startswith(prefix)}
        if inside:
            return inside, {own: name for own, name in names if own not in inside}
    return dict(names), {}


def _match(
    part: Mapping[str, str], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> dict[str, str]:
    """Our name: theirs, by the layout and the prefix that fit most tensors of a part."""
    best: dict[str, str] = {}
    most = (0, 0, 0)
    for layout in _LAYOUTS:
        named = {_renamed(name, layout): own for own, name in part.items()}
        num_named: Counter[str] = Counter()
        num_fitting: Counter[str] = Counter()
        for name, tensor in theirs.items():
            for prefix, end in _splits(name):
                if end in named:
                    num_named[prefix] += 1
                    num_fitting[prefix] += tensor.shape == ours[named[end]].shape
        for prefix, number in num_named.items():
            # As many under two prefixes (a student and its teacher): the shorter, then the first.
            merit = num_fitting[prefix], number, -len(prefix)
            if not best or merit > most:
                most = merit
                best = {own: prefix + end for end, own in named.items() if prefix + end in theirs}
    return best


def _renamed(name: str, layout: _Renaming) -> str:
    for pattern, replacement in layout:
        name = re.sub(pattern, replacement, name)
    return name


def _splits(name: str) -> Iterable[tuple[str, str]]:
    """Every way to see a name as a prefix, with its dot, and the rest."""
    yield "", name
    for found in re.finditer(r"\.", name):
        yield name[: found.end()], name[found.end() :]


def _no_fit(
    network: Network,
    path: Path,
    what: str,
    fitting: Mapping[str, str],
    backbone: Iterable[str],
    theirs: Iterable[str],
) -> SettingError:
    lacking = [_short(own) for own in backbone if own not in fitting and not _is_counter(own)]
    strange = [name for name in theirs if name not in fitting.values() and not _is_counter(name)]
    return SettingError(
        f"{what}={path} does not fit model={network.spec}: only "
        f"{_count(own for own in fitting if own in backbone)} of the {_count(backbone)} tensors of "
        f"its backbone are there; the model wants {_some(lacking)}; the file has "
        f"{_some(strange) if strange else 'nothing else'}; give the model that the file was made "
        "for"
    )


def _is_same(own: Tensor, other: Tensor) -> bool:
    return own.shape == other.shape and torch.allclose(own, other.to(own))


def _is_counter(name: str) -> bool:
    return name.endswith(_COUNTER)


def _count(names: Iterable[str]) -> int:
    return sum(not _is_counter(name) for name in names)


def _short(name: str) -> str:
    return name.removeprefix(_MODULE)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"
