"""Rows 1 and 2: the loss on pseudo labels, beside the rule written out and the authors' class.

Run `python benchmarks/speed/loss.py [--authors FOLDER] [--threads 1] [--device cuda]`; FOLDER is a
checkout of the authors' repository, of which `segmentation/utils/losses.py` is imported. Value and
gradient are compared once, then all take turns. Nothing is asserted but that they agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from table import Row, in_turns, module_at, peak_bytes, print_table, ratio
from torch import Tensor
from torch.nn import functional as F

from dmt.core import IGNORE_INDEX, mutual_cross_entropy, small_mutual_cross_entropy

SHAPE = (8, 21, 321, 321)
COARSE = 41
GAMMA = 5.0
NUM_LABELED = 1


class Case:
    """A batch as in the paper on VOC: one labeled scene behind seven pseudo-labeled ones."""

    def __init__(self, device: str) -> None:
        torch.manual_seed(0)
        num, num_classes, height, width = SHAPE
        self.logits = (3 * torch.randn(SHAPE)).to(device)
        # A trained student agrees with most of its teacher's labels.
        best = self.logits.argmax(dim=1)
        other = torch.randint(num_classes, best.shape, device=device)
        self.label = torch.where(torch.rand(best.shape, device=device) < 0.8, best, other)
        self.confidence = torch.rand(num, height, width).to(device)
        is_out = torch.rand(num, height, width).to(device) < 0.2
        self.label[is_out] = IGNORE_INDEX
        self.valid = self.label != IGNORE_INDEX
        self.given = (torch.arange(num) >= num - NUM_LABELED).view(-1, 1, 1).to(device)

    def ours(self, logits: Tensor) -> Tensor:
        sums, _ = mutual_cross_entropy(
            "dmt", logits, self.label, self.confidence, self.given, self.valid, GAMMA, GAMMA
        )
        return sums.mean()

    def of_small(self, logits: Tensor) -> Tensor:
        sums, _ = small_mutual_cross_entropy(
            "dmt", logits, _enlarge, self.label, self.confidence,
            self.given, self.valid, GAMMA, GAMMA,
        )  # fmt: skip
        return sums.mean()

    def as_written(self, logits: Tensor) -> Tensor:
        """Every quantity of the paper's table on its own, in its order."""
        label = torch.where(self.valid, self.label, 0)
        probs = logits.detach().softmax(dim=1)
        decision = probs.argmax(dim=1)
        student = probs.max(dim=1).values
        of_label = probs.gather(1, label.unsqueeze(1)).squeeze(1)
        is_agreed = decision == label
        weight = torch.zeros_like(of_label)
        weight = torch.where(is_agreed, of_label**GAMMA, weight)
        is_teacher_surer = ~is_agreed & (self.confidence >= student)
        weight = torch.where(is_teacher_surer, of_label**GAMMA, weight)
        weight = torch.where(self.given, torch.ones_like(weight), weight)
        loss = F.cross_entropy(logits, self.label, reduction="none", ignore_index=IGNORE_INDEX)
        return (loss * weight).sum() / self.valid.sum()

    def of_authors(self, folder: Path) -> Callable[[Tensor], Tensor]:
        module = module_at(folder / "segmentation" / "utils" / "losses.py")
        criterion = module.DynamicMutualLoss(GAMMA, GAMMA, ignore_index=IGNORE_INDEX)
        target = torch.stack([self.label.float(), self.confidence], dim=1)
        split = SHAPE[0] - NUM_LABELED

        def loss(logits: Tensor) -> Tensor:
            value: Tensor = criterion(logits, target, split_index=split)[0]
            return value

        return loss


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 1; row 2 on CUDA, or if asked for."""
    device = asked.device
    case = Case(device)
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "dmt": case.ours, "as written": case.as_written,
    }  # fmt: skip
    if asked.authors is not None:
        losses["the authors' class"] = case.of_authors(asked.authors)
    rows = _rows("1", losses, case.logits, asked)
    if device != "cpu" or asked.up_sample:
        case.logits = F.interpolate(
            case.logits, size=COARSE, mode="bilinear", align_corners=True
        ).to(torch.float32 if device == "cpu" else torch.bfloat16)
        up = {name: _upsampled(loss) for name, loss in losses.items()}
        up["dmt"] = case.of_small
        rows += _rows("2", up, case.logits, asked)
    return rows


def _upsampled(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda logits: loss(_enlarge(logits))


def _enlarge(logits: Tensor) -> Tensor:
    return F.interpolate(logits, size=SHAPE[2:], mode="bilinear", align_corners=True)


def _rows(
    number: str,
    losses: dict[str, Callable[[Tensor], Tensor]],
    logits: Tensor,
    asked: argparse.Namespace,
) -> list[Row]:
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def step(name: str) -> None:
        leaf = logits.detach().requires_grad_()
        loss = losses[name](leaf)
        loss.backward()
        assert leaf.grad is not None
        found[name] = loss.detach(), leaf.grad

    ways = {name: lambda name=name: step(name) for name in losses}
    memory = {name: peak_bytes(call, asked.device) / 1e6 for name, call in ways.items()}
    for value, gradient in found.values():
        torch.testing.assert_close(value, found["dmt"][0], rtol=1e-4, atol=1e-5)
        error = (gradient - found["dmt"][1]).abs().max() / gradient.abs().max()
        assert float(error) < (1e-4 if gradient.dtype == torch.float32 else 2e-2), "other gradient"
    found.clear()
    seconds = in_turns(ways, asked.repeats, asked.device)
    wanted = ("4× faster, 1/2 of the memory", "5× faster, 1/8 of the memory")[number == "2"]
    what = f"loss, forward and backward, {tuple(logits.shape)}, {asked.device}"
    return [
        Row(
            number,
            what,
            f"{min(seconds['dmt']):.3f} s, {memory['dmt']:.0f} MB",
            f"{min(seconds[name]):.3f} s, {memory[name]:.0f} MB",
            name,
            f"{ratio(seconds, 'dmt', name):.1f}× faster, "
            f"1/{memory[name] / memory['dmt']:.1f} of the memory",
            wanted,
        )
        for name in losses
        if name != "dmt"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--authors", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--up-sample", action="store_true", help="row 2 on a CPU too, in float32")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print_table(measure(asked))


if __name__ == "__main__":
    main()
