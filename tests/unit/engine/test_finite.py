"""Looking at losses, gradients and weights, and fp16's skipped steps. Runs: tests/faults."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toys import CPU, NO_SCALER, TinyNet, make_batch, make_batches

from dmt.engine.finite import (
    MOST_NOTED,
    FiniteCheck,
    NotFiniteError,
    refuse_unless_all,
    refuse_unless_finite,
)
from dmt.engine.fit import FitSpec, Learner, Tally, fit
from dmt.engine.step import Batch, Position
from dmt.methods.mutual import WeightedPseudoLabels

SPEC = FitSpec(num_steps=8, batch_size=8, num_labeled=4, lr=0.1)


def plain() -> WeightedPseudoLabels:
    return WeightedPseudoLabels(
        lambda batch, position: batch, 3, rule="ones", agreement_gamma=0.0, disagreement_gamma=0.0,
        has_ramp=False, mixup=0.0, keep_max=True,
    )  # fmt: skip


def numbers(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def are_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


class BadBackward(TinyNet):
    """Every forward is finite; from the `first`-th on gradients are not."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._left = first

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        self._left -= 1
        if self._left < 0 and logits.requires_grad:
            logits.register_hook(lambda gradient: gradient * math.inf)
        return logits


def test_a_gradient_stops_before_the_optimizer_moves() -> None:
    learner = Learner(BadBackward(3), SPEC)
    states: list[tuple[dict[str, Tensor], ...]] = []
    with pytest.raises(NotFiniteError, match="the gradient is not finite at step 4 of 8") as found:
        fit(
            {"student": learner}, plain(), make_batches(8), CPU, tally=Tally(), scaler=NO_SCALER,
            after_step=lambda p, s: states.append((numbers(learner.net), numbers(learner.outcome))),
        )  # fmt: skip
    assert len(states) == 3
    moving = {name for name, _ in learner.net.named_parameters()}
    assert all(torch.equal(numbers(learner.net)[name], states[-1][0][name]) for name in moving)
    assert are_equal(numbers(learner.outcome), states[-1][1])
    assert found.value.ids == tuple(range(8))


def elsewhere() -> FiniteCheck:
    return FiniteCheck(CPU, is_at_once=False)


def note(check: FiniteCheck, step: int, loss: float = 1.0, gradient: float = 0.0) -> None:
    """A step of nine with images of its own."""
    net, batch = TinyNet(), make_batch(0)._replace(ids=torch.arange(8) + 100 * step)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    check.loss(torch.tensor(loss), {"student": net}, batch, Position(0, "x", step, 99))
    check.gradients([net])


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"gradient": -math.inf}], ids=str)
def test_elsewhere_steps_are_looked_at_together(bad: dict[str, float]) -> None:
    """The first bad one and its images are named, not those in which it was noticed."""
    check = elsewhere()
    note(check, 0)
    check.settle()
    note(check, 1)
    note(check, 2, **bad)
    note(check, 3, loss=math.nan, gradient=math.nan)
    what = {"loss": "the loss", "gradient": "the gradient"}[next(iter(bad))]
    with pytest.raises(NotFiniteError, match=f"{what} is not finite at step 3 of 99") as found:
        check.settle()
    assert found.value.ids == tuple(range(200, 208))
    assert not found.value.is_sure
    check.settle()


def test_elsewhere_not_too_many_are_left_unseen() -> None:
    check = elsewhere()
    note(check, 0, gradient=math.nan)
    for step in range(1, MOST_NOTED):
        note(check, step)
    with pytest.raises(NotFiniteError, match="at step 1 of 99"):
        note(check, MOST_NOTED)


def test_a_checkpoint_holds_no_loss_that_was_not_seen() -> None:
    net = TinyNet()
    refuse_unless_finite([net], 3, 8, CPU, torch.tensor([1.0, 2.0]))
    with pytest.raises(NotFiniteError, match="a loss since the last record is not finite"):
        refuse_unless_finite([net], 3, 8, CPU, torch.tensor([1.0, math.nan]))


class Dark(TinyNet):
    """Has no answer to black images, and BatchNorm carries that to all of the batch."""

    def forward(self, images: Tensor) -> Tensor:
        scaled = images.float() / images.float().amax(dim=(1, 2, 3), keepdim=True)
        return super().forward(scaled * 255)


def with_black(batch: Batch, *places: int) -> Batch:
    images = batch.images.clone()
    images[list(places)] = 0
    return batch._replace(images=images, ids=torch.arange(100, 108))


def losses_of(batch: Batch, net: nn.Module) -> NotFiniteError:
    with pytest.raises(NotFiniteError) as found:
        fit(
            {"student": Learner(net, SPEC)}, plain(), [(Position(0, "x", 0, 8), batch)], CPU,
            tally=Tally(), scaler=NO_SCALER, after_step=lambda position, sums: None,
        )  # fmt: skip
    return found.value


def test_images_without_an_answer_are_told_from_the_others() -> None:
    error = losses_of(with_black(make_batch(0), 2, 5), Dark())
    assert error.is_sure
    assert error.ids == (102, 105)
    sentence = error.told("peer a, round 1", lambda id: f"{id}.png")
    assert sentence.startswith(
        "the loss is not finite at step 1 of 8 (peer a, round 1); of 8 images the network has no "
        "finite answer to 102.png, 105.png; "
    )


def test_no_image_is_blamed_where_all_are_alike() -> None:
    net = TinyNet()
    with torch.no_grad():
        next(iter(net.parameters())).fill_(math.nan)
    error = losses_of(make_batch(0)._replace(ids=torch.arange(100, 108)), net)
    assert not error.is_sure
    sentence = error.told("", lambda id: f"{id}.png")
    assert "; the batch held 100.png, 101.png, 102.png, 103.png, 104.png and 3 more; " in sentence
    assert "a lower learning rate" in sentence


def test_an_image_that_is_not_counted_is_not_named() -> None:
    class Bad(WeightedPseudoLabels):
        def losses(self, nets, batch, position):  # type: ignore[no-untyped-def]
            result = super().losses(nets, batch, position)
            sums = result.losses["student"][0]
            bad = sums._replace(total=sums.total * math.nan)
            return result._replace(losses={"student": (bad,)})

    valid = torch.ones(8, dtype=torch.bool)
    valid[3] = False
    bad = Bad(
        lambda batch, position: batch, 3, rule="ones", agreement_gamma=0.0, disagreement_gamma=0.0,
        has_ramp=False, mixup=0.0, keep_max=True,
    )  # fmt: skip
    with pytest.raises(NotFiniteError) as found:
        fit(
            {"student": Learner(TinyNet(), SPEC)}, bad,
            [(Position(0, "x", 0, 8), make_batch(0)._replace(valid=valid))], CPU,
            tally=Tally(), scaler=NO_SCALER, after_step=lambda position, sums: None,
        )  # fmt: skip
    assert found.value.ids == (0, 1, 2, 4, 5, 6, 7)


def test_looking_for_a_cause_leaves_the_running_statistics_alone() -> None:
    net = Dark().train()
    before = numbers(net)
    with pytest.raises(NotFiniteError):
        FiniteCheck(CPU, is_at_once=True).loss(
            torch.tensor(math.nan), {"student": net}, with_black(make_batch(0), 1),
            Position(0, "x", 0, 8),
        )  # fmt: skip
    assert are_equal(numbers(net), before)


def test_weights_are_looked_at_before_they_are_written() -> None:
    net = TinyNet()
    refuse_unless_finite([net], 3, 8, CPU)
    with torch.no_grad():
        net.layers[1].running_var.fill_(math.inf)
    with pytest.raises(
        NotFiniteError, match="a weight of the network is not finite at step 3 of 8"
    ):
        refuse_unless_finite([TinyNet(), net], 3, 8, CPU)


def test_answers_are_looked_at_before_they_are_stored() -> None:
    ids = torch.tensor([7, 8, 9])
    refuse_unless_all(torch.tensor([True, True, True]), ids)
    with pytest.raises(
        NotFiniteError, match="an answer of the network is not finite; of 3 images"
    ) as one:
        refuse_unless_all(torch.tensor([True, False, True]), ids)
    assert one.value.ids == (8,)
    with pytest.raises(NotFiniteError) as every:
        refuse_unless_all(torch.tensor([False, False, False]), ids)
    assert every.value.ids == ()
    assert "learning rate" in str(every.value)


# fp16, whose scaler may skip a step -------------------------------------------------------------


class Overflowing(TinyNet):
    """Gradients overflow while the scale is above 2⁸."""

    scale = 0.0

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        if logits.requires_grad:
            logits.register_hook(lambda g: g * math.inf if self.scale > 2.0**8 else g)
        return logits


def scaled_run(
    net: Overflowing, scaler: torch.amp.GradScaler, learner: Learner
) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Weights and average after every step."""
    states: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def batches() -> Iterator[tuple[Position, Batch]]:
        for item in make_batches(8):
            net.scale = scaler.get_scale()
            yield item

    fit(
        {"student": learner}, plain(), batches(), CPU, tally=Tally(), scaler=scaler,
        after_step=lambda p, s: states.append((numbers(learner.net), numbers(learner.outcome))),
    )  # fmt: skip
    return states


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_that_fp16_skips_moves_neither_weights_nor_average(optimizer) -> None:
    net = Overflowing()
    learner = Learner(net, replace(SPEC, optimizer=optimizer))
    start = numbers(learner.outcome)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**11)
    states = scaled_run(net, scaler, learner)
    moving = [name for name, _ in net.named_parameters()]
    for weights, average in states[:3]:  # at 2¹¹, 2¹⁰ and 2⁹
        assert all(torch.equal(weights[name], start[name]) for name in moving)
        assert are_equal(average, start)
    assert scaler.get_scale() == 2.0**8
    for weights, average in states[3:]:
        assert not torch.equal(weights[moving[0]], start[moving[0]])
        assert not are_equal(average, start)
    assert learner.ema is not None
    assert learner.ema.state_dict()["num_updates"] == 5


def test_momentum_begins_at_zero_even_where_the_first_step_is_skipped() -> None:
    learner = Learner(Overflowing(), SPEC)
    buffers = [each["momentum_buffer"] for each in learner.optimizer.state.values()]
    assert len(buffers) == len(list(learner.net.parameters()))
    assert not any(each.any() for each in buffers)


def test_a_scale_that_only_falls_stops_the_run() -> None:
    net = Overflowing()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-6)
    net.scale = math.inf
    learner = Learner(net, SPEC)
    with pytest.raises(NotFiniteError, match="the gradient is not finite"):
        fit(
            {"student": learner}, plain(), make_batches(8), CPU, tally=Tally(), scaler=scaler,
            after_step=lambda position, sums: None,
        )  # fmt: skip
