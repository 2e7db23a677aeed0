"""The training loop: rates, when it stops, what it hands on, and two learners in one step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from toys import CPU, NO_SCALER, CrossTeaching, TinyNet, make_batch, make_batches

from dmt.engine.fit import FitSpec, Learner, Tally, fit, record_every
from dmt.engine.step import Batch, Method, Position, StepResult
from dmt.errors import TrainingError
from dmt.methods.mutual import WeightedPseudoLabels

SPEC = FitSpec(num_steps=8, batch_size=8, num_labeled=4, lr=0.1)

Seen = list[tuple[int, Mapping[str, float] | None]]


def weighted() -> WeightedPseudoLabels:
    return WeightedPseudoLabels(
        lambda batch, position: batch,
        3,
        rule="dmt",
        agreement_gamma=2.0,
        disagreement_gamma=2.0,
        has_ramp=False,
        mixup=0.0,
        keep_max=True,
    )


def run(
    learners: Mapping[str, Learner], method: Method, num_steps: int = 8, first_step: int = 0
) -> Seen:
    seen: Seen = []
    fit(
        learners,
        method,
        make_batches(num_steps, first_step),
        CPU,
        tally=Tally(),
        scaler=NO_SCALER,
        after_step=lambda position, sums: seen.append((position.step, sums)),
    )
    return seen


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.named_parameters()}


def are_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0.4, 0.4 * 0.5 * (1 + math.cos(math.pi / 4)), 0.2]),
        ("poly", [0.4, 0.4 * 0.75**0.9, 0.4 * 0.5**0.9]),
        ("constant", [0.4, 0.4, 0.4]),
    ],
)
def test_learning_rates_by_hand(
    schedule: Literal["cosine", "poly", "constant"], expected: list[float]
) -> None:
    spec = FitSpec(4, 8, 4, 0.4, lr_schedule=schedule)
    assert [spec.lr_at(step) for step in range(3)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "poly", "constant"])
def test_warmup_rises_linearly_to_the_rate(
    schedule: Literal["cosine", "poly", "constant"],
) -> None:
    spec = FitSpec(10, 8, 4, 0.4, lr_schedule=schedule, warmup=4)
    assert [spec.lr_at(step) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    rates = [spec.lr_at(step) for step in range(4, 10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


@pytest.mark.parametrize(
    ("batch_size", "num_labeled", "num_blocks"),
    [(64, 16, 8), (512, 64, 8), (8, 1, 1), (128, 128, 8), (12, 4, 4), (10, 4, 2)],
)
def test_blocks_divide_both_kinds(batch_size: int, num_labeled: int, num_blocks: int) -> None:
    assert FitSpec(1, batch_size, num_labeled, 0.1).num_blocks == num_blocks


def test_the_optimizer_moves_at_the_rate_of_its_step() -> None:
    learner = Learner(TinyNet(), SPEC)
    rates: list[float] = []
    fit(
        {"student": learner},
        weighted(),
        make_batches(8),
        CPU,
        tally=Tally(),
        scaler=NO_SCALER,
        after_step=lambda position, sums: rates.append(learner.optimizer.param_groups[0]["lr"]),
    )
    assert rates == [SPEC.lr_at(step) for step in range(8)]


def test_one_step_of_sgd_by_hand() -> None:
    """No momentum yet, no decay: the weight moves by lr · gradient of the mean."""
    net = TinyNet()
    spec = replace(SPEC, momentum=0.0, weight_decay=0.0, lr_schedule="constant")
    other = TinyNet().train()
    batch = make_batch(0)
    result = weighted().losses({"student": other}, batch, Position(0, "round1/a", 0, 1))
    result.losses["student"][0].mean().backward()
    run({"student": Learner(net, spec)}, weighted(), num_steps=1)
    for moved, start in zip(net.parameters(), other.parameters(), strict=True):
        assert start.grad is not None
        torch.testing.assert_close(moved, start - 0.1 * start.grad)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_lowers_the_loss(optimizer: Literal["sgd", "adamw"]) -> None:
    spec = replace(SPEC, optimizer=optimizer, lr=0.05, num_steps=40)
    seen = run({"student": Learner(TinyNet(), spec)}, weighted(), num_steps=40)
    losses = [sums["loss"] for _, sums in seen if sums is not None]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


class _Bad(WeightedPseudoLabels):
    """Good until step 3, where the loss is `value`."""

    def __init__(self, value: float) -> None:
        super().__init__(
            lambda batch, position: batch, 3, rule="ones", agreement_gamma=0.0,
            disagreement_gamma=0.0, has_ramp=False, mixup=0.0, keep_max=True,
        )  # fmt: skip
        self._value = value

    def losses(self, nets: Mapping[str, nn.Module], batch: Batch, position: Position) -> StepResult:
        result = super().losses(nets, batch, position)
        if position.step != 3:
            return result
        sums = result.losses["student"][0]
        bad = sums._replace(total=sums.total * self._value)
        return StepResult({"student": (bad,)}, result.sums)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_anything_moves(value: float) -> None:
    learner = Learner(TinyNet(), SPEC)
    states: list[dict[str, Any]] = []

    def keep(position: Position, sums: Mapping[str, float] | None) -> None:
        states.append({"net": weights(learner.net), "ema": weights(learner.outcome)})

    with pytest.raises(TrainingError, match="finite"):
        fit(
            {"student": learner}, _Bad(value), make_batches(8), CPU,
            tally=Tally(), scaler=NO_SCALER, after_step=keep,
        )  # fmt: skip
    assert len(states) == 3
    assert are_equal(weights(learner.net), states[-1]["net"])
    assert are_equal(weights(learner.outcome), states[-1]["ema"])


def test_a_batch_without_valid_samples_is_a_loss_of_zero() -> None:
    learner = Learner(TinyNet(), replace(SPEC, weight_decay=0.0))
    before = weights(learner.net)
    batch = make_batch(0)
    batch = batch._replace(valid=torch.zeros_like(batch.valid))
    seen: Seen = []
    fit(
        {"student": learner}, weighted(), [(Position(0, "x", 0, 1), batch)], CPU,
        tally=Tally(), scaler=NO_SCALER,
        after_step=lambda position, sums: seen.append((position.step, sums)),
    )  # fmt: skip
    assert seen[0][1] is not None
    assert seen[0][1]["loss"] == 0
    assert are_equal(weights(learner.net), before)


def test_after_step_is_called_once_a_step_with_sums_when_due() -> None:
    seen = run({"student": Learner(TinyNet(), SPEC)}, weighted(), num_steps=90)
    assert [step for step, _ in seen] == list(range(90))
    assert record_every(90) == 2
    due = [step for step, sums in seen if sums is not None]
    assert due == list(range(1, 90, 2))
    for _, sums in seen:
        if sums is not None:
            assert sums["num_steps"] == 2
            assert sums["student.num_pseudo"] == 8  # four a step
            assert 0 <= sums["student.num_agreed"] <= 8
            assert 0 <= sums["student.weight"] <= 8


def test_the_last_steps_are_recorded_even_if_fewer() -> None:
    seen = run({"student": Learner(TinyNet(), SPEC)}, weighted(), num_steps=83)
    last = seen[-1][1]
    assert last is not None
    assert last["num_steps"] == 1


@pytest.mark.parametrize(("num_steps", "every"), [(1, 1), (39, 1), (80, 2), (4000, 100)])
def test_a_stage_has_about_forty_records(num_steps: int, every: int) -> None:
    assert record_every(num_steps) == every


def test_a_tally_adds_up_and_begins_anew() -> None:
    tally = Tally()
    assert tally.take(CPU) == {}
    tally.add({"loss": torch.tensor(0.5, requires_grad=True), "num": torch.tensor(3)})
    tally.add({"loss": torch.tensor(0.25), "num": torch.tensor(4), "late": torch.tensor(1.0)})
    assert tally.take(CPU) == {"loss": 0.75, "num": 7.0, "late": 1.0}
    assert tally.take(CPU) == {}


def test_the_outcome_is_the_average_where_there_is_one() -> None:
    learner = Learner(TinyNet(), SPEC)
    assert learner.outcome is not learner.net
    plain = Learner(TinyNet(), replace(SPEC, ema_decay=0.0))
    assert plain.outcome is plain.net


def test_networks_train_in_train_mode_and_the_average_stays_in_eval() -> None:
    learner = Learner(TinyNet().eval(), SPEC)
    run({"student": learner}, weighted())
    assert learner.net.training
    assert not learner.outcome.training


@pytest.mark.parametrize("stop", [1, 5])
def test_going_on_from_a_state_gives_the_same_bits(stop: int) -> None:
    whole = Learner(TinyNet(), SPEC)
    run({"student": whole}, weighted())
    first = Learner(TinyNet(), SPEC)
    for position, batch in make_batches(8):
        if position.step == stop:
            break
        fit(
            {"student": first}, weighted(), [(position, batch)], CPU,
            tally=Tally(), scaler=NO_SCALER, after_step=lambda position, sums: None,
        )  # fmt: skip
    second = Learner(TinyNet(seed=9), SPEC)
    second.load_state_dict(first.state_dict())
    run({"student": second}, weighted(), first_step=stop)
    assert are_equal(weights(second.net), weights(whole.net))
    assert are_equal(weights(second.outcome), weights(whole.outcome))


def test_torch_is_seeded_from_the_position() -> None:
    """What dropout draws at a step is the same whatever was drawn before."""

    class Dropping(TinyNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(nn.functional.dropout(images.float(), 0.5))

    outcomes = []
    for start in (1, 2):
        torch.manual_seed(start)
        learner = Learner(Dropping(), SPEC)
        run({"student": learner}, weighted())
        outcomes.append(weights(learner.net))
    assert are_equal(*outcomes)


def test_two_learners_in_one_step() -> None:
    learners = {
        "left": Learner(TinyNet(1), SPEC),
        "right": Learner(TinyNet(2), replace(SPEC, lr=0.02, ema_decay=0.0)),
    }
    before = {name: weights(learner.net) for name, learner in learners.items()}
    method = CrossTeaching()
    seen = run(learners, method)
    assert method.num_after_steps == 8
    assert method.averages == {name: learner.outcome for name, learner in learners.items()}
    sums = seen[-1][1]
    assert sums is not None
    assert sums["loss"] == pytest.approx(sums["left.loss"] + sums["right.loss"])
    assert sums["left.num_pseudo"] == 4
    for name, learner in learners.items():
        assert not are_equal(weights(learner.net), before[name])
    assert learners["left"].optimizer.param_groups[0]["lr"] == SPEC.lr_at(7)
    assert learners["right"].optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * SPEC.lr_at(7))


def test_of_two_learners_each_gets_the_gradient_of_its_own_loss() -> None:
    """The summed backward is what two separate ones would be: no learner leaks into the other."""
    spec = replace(SPEC, momentum=0.0, weight_decay=0.0, lr_schedule="constant")
    nets = {"left": TinyNet(1).train(), "right": TinyNet(2).train()}
    result = CrossTeaching().losses(nets, make_batch(0), Position(0, "round1/a", 0, 1))
    for (sums,) in result.losses.values():
        sums.mean().backward()
    learners = {"left": Learner(TinyNet(1), spec), "right": Learner(TinyNet(2), spec)}
    run(learners, CrossTeaching(), num_steps=1)
    for name, learner in learners.items():
        for moved, start in zip(learner.net.parameters(), nets[name].parameters(), strict=True):
            assert start.grad is not None
            torch.testing.assert_close(moved, start - 0.1 * start.grad)


def test_one_bad_loss_of_two_stops_both() -> None:
    class HalfBad(CrossTeaching):
        def losses(
            self, nets: Mapping[str, nn.Module], batch: Batch, position: Position
        ) -> StepResult:
            result = super().losses(nets, batch, position)
            right = result.losses["right"][0]
            bad = right._replace(total=right.total * math.nan)
            return StepResult({**result.losses, "right": (bad,)}, result.sums)

    learners = {"left": Learner(TinyNet(1), SPEC), "right": Learner(TinyNet(2), SPEC)}
    before = weights(learners["left"].net)
    with pytest.raises(TrainingError):
        run(learners, HalfBad())
    assert are_equal(weights(learners["left"].net), before)
