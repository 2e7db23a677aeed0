"""`WeightedPseudoLabels`: which weight goes where, mixup's extra forward, and what is reported."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmt.core import RULES, draw_mix, gamma_ramp, predict, uniform, weigh, weighted_cross_entropy
from dmt.core.weighting import Rule
from dmt.engine.step import Batch, Position
from dmt.methods.mutual import WeightedPseudoLabels

K = 4
POSITION = Position(3, "round2/a", 4, 10)


class Counting(nn.Module):
    """A linear classifier with BatchNorm that counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(12)
        self.linear = nn.Linear(12, K)
        self.num_forwards = 0
        with torch.no_grad():
            self.linear.weight.copy_(2 * uniform(0, "weight", num=12 * K).view(K, 12) - 1)
            self.linear.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        self.num_forwards += 1
        logits: Tensor = self.linear(self.norm(images.flatten(1).float() / 255))
        return logits


class Fixed(nn.Module):
    """The same logits whatever the images are."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def make_batch(num: int = 8, num_labeled: int = 2) -> Batch:
    is_labeled = torch.arange(num) < num_labeled
    return Batch(
        ids=torch.arange(num),
        slots=torch.arange(num),
        images=(255 * uniform(1, num=num * 12)).to(torch.uint8).view(num, 3, 2, 2),
        label=torch.arange(num) % K,
        confidence=torch.where(is_labeled, 1.0, uniform(2, num=num)),
        valid=torch.ones(num, dtype=torch.bool),
        is_labeled=is_labeled,
    )


def method_of(
    rule: Rule = "dmt", *, mixup: float = 0.0, has_ramp: bool = False, num_blocks: int = 1
) -> WeightedPseudoLabels:
    return WeightedPseudoLabels(
        lambda batch, position: batch,
        K,
        rule=rule,
        agreement_gamma=2.0,
        disagreement_gamma=3.0,
        has_ramp=has_ramp,
        mixup=mixup,
        keep_max=True,
        num_blocks=num_blocks,
    )


def test_by_hand() -> None:
    """Given label, agreement, surer teacher, surer student: weights 1, p², p³, 0."""
    row = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    batch = make_batch(4, 1)._replace(
        label=torch.tensor([3, 0, 1, 2]), confidence=torch.tensor([1.0, 0.9, 0.9, 0.4])
    )
    result = method_of().losses({"student": Fixed(row.repeat(4, 1))}, batch, POSITION)
    sums = result.losses["student"][0]
    weights = (1.0, 0.5**2, 0.25**3, 0.0)
    expected = sum(w * -math.log(p) for w, p in zip(weights, (0.125, 0.5, 0.25, 1.0), strict=True))
    assert sums.total.item() == pytest.approx(expected, rel=1e-5)
    assert sums.num_valid.item() == 4
    assert result.sums["student"]["num_pseudo"].item() == 3
    assert result.sums["student"]["num_agreed"].item() == 1
    assert result.sums["student"]["weight"].item() == pytest.approx(sum(weights[1:]), rel=1e-5)


def test_flip_learns_its_own_class_but_never_changes_a_given_label() -> None:
    row = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    batch = make_batch(2, 1)._replace(
        label=torch.tensor([2, 2]), confidence=torch.tensor([0.1, 0.4])
    )
    sums = method_of("flip").losses({"student": Fixed(row.repeat(2, 1))}, batch, POSITION)
    expected = -math.log(0.125) - 0.6**3 * math.log(0.5)
    assert sums.losses["student"][0].total.item() == pytest.approx(expected, rel=1e-5)


def test_what_is_not_valid_is_neither_learned_nor_counted() -> None:
    batch = make_batch()
    valid = torch.arange(8) % 2 == 0
    label = torch.where(valid, batch.label, 255)
    result = method_of().losses(
        {"student": Counting()}, batch._replace(valid=valid, label=label), POSITION
    )
    assert result.losses["student"][0].num_valid.item() == 4
    assert result.sums["student"]["num_pseudo"].item() == 3


@pytest.mark.parametrize("rule", RULES)
def test_a_mixed_step_is_put_together_from_the_core(rule: Rule) -> None:
    batch, net = make_batch(), Counting().train()
    result = method_of(rule, mixup=0.75).losses({"student": net}, batch, POSITION)
    other = Counting().train()
    weighted = weigh(rule, other(batch.images).detach(), batch.label, batch.confidence, 2.0, 3.0)
    weight = torch.where(batch.is_labeled, 1.0, weighted.weight)
    label = torch.where(batch.is_labeled, batch.label, weighted.label)
    mix = draw_mix(8, 0.75, *POSITION[:3])
    expected = weighted_cross_entropy(
        other(mix(batch.images.float())), mix(F.one_hot(label, K).float()), mix(weight), batch.valid
    )
    torch.testing.assert_close(result.losses["student"][0].total, expected.total)


def test_a_mixed_sample_is_valid_if_both_halves_are() -> None:
    batch = make_batch()
    valid = torch.arange(8) != 5
    result = method_of(mixup=0.75).losses(
        {"student": Counting()}, batch._replace(valid=valid), POSITION
    )
    mix = draw_mix(8, 0.75, *POSITION[:3])
    both = valid & valid[mix.partner]
    assert result.losses["student"][0].num_valid.item() == int(both.sum()) < 8


@pytest.mark.parametrize(
    ("rule", "mixup", "num_labeled", "num_forwards"),
    [
        ("dmt", 0.75, 2, 2),
        ("ones", 0.75, 2, 1),  # the weights are known
        ("dmt", 0.75, 8, 1),  # nothing to weigh
        ("dmt", 0.0, 2, 1),
    ],
)
def test_the_extra_forward_is_run_only_where_it_is_needed(
    rule: Rule, mixup: float, num_labeled: int, num_forwards: int
) -> None:
    net = Counting()
    method_of(rule, mixup=mixup).losses({"student": net}, make_batch(8, num_labeled), POSITION)
    assert net.num_forwards == num_forwards


def test_batch_norm_moves_once_a_step() -> None:
    nets = {name: Counting().train() for name in ("dmt", "ones")}
    for rule in ("dmt", "ones"):
        method = method_of("dmt" if rule == "dmt" else "ones", mixup=0.75)
        method.losses({"student": nets[rule]}, make_batch(), POSITION)
    for net in nets.values():
        assert net.norm.num_batches_tracked is not None
        assert net.norm.num_batches_tracked.item() == 1
    one, other = (net.norm.running_mean for net in nets.values())
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)


def test_mixup_stays_inside_blocks() -> None:
    """Two blocks in one batch give what two ranks with one block each would, summed."""
    batch, net = make_batch(), Counting().eval()
    position = POSITION
    whole = method_of(mixup=0.75, num_blocks=2).losses({"student": net}, batch, position)
    mix = draw_mix(8, 0.75, *position[:3], num_blocks=2)
    found = predict(net(batch.images))
    assert found.label.shape == (8,)
    weighted = weigh("dmt", net(batch.images), batch.label, batch.confidence, 2.0, 3.0)
    weight = torch.where(batch.is_labeled, 1.0, weighted.weight)
    total = torch.zeros(())
    for block in (slice(0, 4), slice(4, 8)):
        partner = mix.partner[block] - block.start
        assert sorted(partner.tolist()) == [0, 1, 2, 3]
        own = mix._replace(partner=partner)
        part = weighted_cross_entropy(
            net(own(batch.images[block].float())),
            own(F.one_hot(batch.label[block], K).float()),
            own(weight[block]),
            batch.valid[block],
        )
        total = total + part.total
    torch.testing.assert_close(whole.losses["student"][0].total, total)


def test_the_view_is_trained_on() -> None:
    seen: list[Position] = []

    def black(batch: Batch, position: Position) -> Batch:
        seen.append(position)
        return batch._replace(images=torch.zeros_like(batch.images))

    method = WeightedPseudoLabels(
        black, K, rule="ones", agreement_gamma=0.0, disagreement_gamma=0.0, has_ramp=False,
        mixup=0.0, keep_max=True,
    )  # fmt: skip
    sums = method.losses({"student": Counting().eval()}, make_batch(), POSITION).losses["student"][
        0
    ]
    assert seen == [POSITION]
    assert sums.mean().item() == pytest.approx(math.log(K))  # a black image decides nothing


def test_gamma_follows_the_ramp() -> None:
    assert method_of().gamma(POSITION) == 2.0
    assert method_of(has_ramp=True).gamma(POSITION) == pytest.approx(2 * gamma_ramp(4, 10))
    assert method_of("ones").gamma(POSITION) is None


def test_a_ramp_starts_with_nearly_equal_weights() -> None:
    row = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().repeat(2, 1)
    batch = make_batch(2, 0)._replace(
        label=torch.tensor([0, 1]), confidence=torch.tensor([0.9, 0.9])
    )
    weights = [
        method_of(has_ramp=True)
        .losses({"student": Fixed(row)}, batch, Position(0, "x", step, 1000))
        .sums["student"]["weight"]
        .item()
        for step in (0, 500, 999)
    ]
    assert weights[0] > 1.9
    assert weights == sorted(weights, reverse=True)
    assert weights[2] == pytest.approx(0.5**2 + 0.25**3, rel=1e-5)


@pytest.mark.parametrize("mixup", [0.0, 0.75])
def test_pixels_go_the_same_way(mixup: float) -> None:
    """Labels (N, H, W): a batch of one-pixel images gives the loss of a batch of images."""

    class Pixels(Counting):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, :, None, None]

    batch = make_batch()
    pixels = batch._replace(
        **{name: getattr(batch, name).view(-1, 1, 1) for name in ("label", "confidence", "valid")}
    )
    method = method_of(mixup=mixup)
    one = method.losses({"student": Counting()}, batch, POSITION)
    other = method.losses({"student": Pixels()}, pixels, POSITION)
    assert torch.equal(one.losses["student"][0].total, other.losses["student"][0].total)
    assert {k: v.item() for k, v in one.sums["student"].items()} == {
        k: v.item() for k, v in other.sums["student"].items()
    }


def test_it_keeps_no_state() -> None:
    method = method_of()
    assert method.learners == ("student",)
    assert method.state_dict() == {}
    method.load_state_dict({})
