"""The averaged weights of a network while it trains."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from dmt.engine.sharding import is_part, load_parts, own


class Ema:
    """A true exponential moving average: `decay` is the share of history kept.

    Floating buffers (BatchNorm's running statistics) are averaged like the weights, so that the
    averaged network is normalised as its own weights saw the data; counters are copied. Early on
    the decay is `min(decay, (1 + t) / (10 + t))`, or the first random weights would outlive a
    run of a few hundred steps.

    Departure: the authors' `shadow -= 0.999 · (shadow − weight)` keeps 0.1 % of history.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self._decay = decay
        self._num_updates = 0
        self._pairs: tuple[nn.Module, list[tuple[Tensor, Tensor]]] | None = None

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step towards `module`'s present weights."""
        decay = min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))
        self._num_updates += 1
        pairs = self._pairs_with(module)
        floating = [(a, b) for a, b in pairs if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floating], [b for _, b in floating], 1 - decay)
        for a, b in pairs:
            if not a.is_floating_point():
                a.copy_(b)

    def _pairs_with(self, module: nn.Module) -> list[tuple[Tensor, Tensor]]:
        """Our tensors and theirs; found once, as that takes longer than to average small ones."""
        if self._pairs is None or self._pairs[0] is not module:
            ours, theirs = (
                [own(each) for each in net.state_dict().values()] for net in (self.module, module)
            )
            # By place in memory, so that a tensor that two layers share is averaged once.
            places = {a.data_ptr(): (a, b) for a, b in zip(ours, theirs, strict=True)}
            pairs = list(places.values())
            if any(is_part(each) for each in module.parameters()):  # parts may move
                return pairs
            self._pairs = module, pairs
        return self._pairs[1]

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps."""
        return {"module": self.module.state_dict(), "num_updates": self._num_updates}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from `state_dict()`."""
        load_parts(self.module, cast("dict[str, Tensor]", state["module"]))
        self._num_updates = cast("int", state["num_updates"])
