"""Methods that label at every step, each against a plain computation of its loss.

A network here answers by a table: the first pixel of an image says in which row. The strong view
of an image is the row ten further on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dmt.core import draw_mix, uniform
from dmt.engine.plan import PRESETS
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Online, Weights
from dmt.engine.step import Batch, Position, StepResult
from dmt.methods.adaptive import AdaptiveThresholds
from dmt.methods.mixmatch import MixMatch
from dmt.methods.online import OnlinePseudoLabels, answer_of, ramp

K = 3
CPU = Runtime(torch.device("cpu"))
POSITION = Position(0, "round0/a", 9, 20)
GIVEN, POOL = (0, 1), (2, 3, 4, 5)


class Table(nn.Module):
    """Row of the first pixel -> logits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.rows = nn.Parameter(4 * uniform(seed, "table", num=20 * K).view(20, K))
        self.num_seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.norm(images.float())
        self.num_seen += len(images)
        rows: Tensor = self.rows[images[:, 0, 0, 0].long()]
        return rows

    def probs(self, row: int) -> list[float]:
        found: list[float] = self.rows[row].detach().softmax(0).tolist()
        return found


def make_batch() -> Batch:
    """Labeled, unlabeled, unlabeled, labeled, unlabeled, unlabeled."""
    rows = torch.tensor([GIVEN[0], POOL[0], POOL[1], GIVEN[1], POOL[2], POOL[3]])
    is_labeled = torch.tensor([True, False, False, True, False, False])
    return Batch(
        ids=rows,
        slots=torch.arange(6),
        images=rows.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2),
        label=torch.where(is_labeled, rows + 1, -1),  # 1 and 2
        confidence=is_labeled.float(),
        valid=torch.ones(6, dtype=torch.bool),
        is_labeled=is_labeled,
    )


def same(batch: Batch, position: Position) -> Batch:
    return batch


def views(batch: Batch, position: Position) -> tuple[Batch, Batch]:
    return batch, batch._replace(images=batch.images + 10)


def method_of(name: str, **changed: object) -> OnlinePseudoLabels:
    preset = PRESETS[name]
    assert preset.online is not None
    online = replace(preset.online, **changed)  # type: ignore[arg-type]
    weighting = Weights(preset.rule, 2.0, 3.0, False)
    return OnlinePseudoLabels(same, views, K, online, weighting, CPU, preset.num_peers)


def nets_of(method: OnlinePseudoLabels) -> dict[str, Table]:
    """Learners whose averages are they themselves."""
    nets = {name: Table(seed) for seed, name in enumerate(method.learners, start=3)}
    method.begin(nets)
    return nets


def loss_of(result: StepResult, name: str = "a") -> float:
    return sum(terms.mean().item() for terms in result.losses[name])


def entropy(probs: list[float], label: int) -> float:
    return -math.log(probs[label])


def best(probs: list[float]) -> tuple[int, float]:
    return max(enumerate(probs), key=lambda item: item[1])


def called(net: Table) -> list[int]:
    """How often a network calls each class on the pool."""
    labels = [best(net.probs(row))[0] for row in POOL]
    return [labels.count(number) for number in range(K)]


def on_labels(net: Table) -> float:
    return sum(entropy(net.probs(row), row + 1) for row in GIVEN) / 2


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.7, 1.0])
def test_fixmatch(threshold: float) -> None:
    method = method_of("fixmatch", threshold=threshold, unlabeled_weight=0.5)
    nets = nets_of(method)
    result = method.losses(nets, make_batch(), POSITION)
    net, total, num_sure = nets["a"], 0.0, 0
    for row in POOL:
        label, confidence = best(net.probs(row))
        if confidence >= threshold:
            total += entropy(net.probs(row + 10), label)
            num_sure += 1
    assert loss_of(result) == pytest.approx(on_labels(net) + 0.5 * total / 4, rel=1e-5)
    sums = {key: value.tolist() for key, value in result.sums["a"].items()}
    agreed = sum(best(net.probs(row))[0] == best(net.probs(row + 10))[0] for row in POOL)
    assert sums == {
        "num_pseudo": 4, "num_agreed": agreed, "weight": num_sure, "given": [0, 1, 1],
        "predicted": called(net),
    }  # fmt: skip


def test_the_published_threshold_of_fixmatch_and_of_the_papers_online() -> None:
    assert [PRESETS[name].online.threshold for name in ("fixmatch", "online")] == [0.95, 0.9]  # type: ignore[union-attr]


def test_online_learns_the_very_view_it_labels_and_counts_the_sure_ones_alone() -> None:
    method = method_of("online", threshold=0.6)
    nets = nets_of(method)
    result = method.losses(nets, make_batch(), POSITION)
    net = nets["a"]
    sure = [best(net.probs(row)) for row in POOL if best(net.probs(row))[1] >= 0.6]
    assert 0 < len(sure) < 4
    total = 2 * on_labels(net) - sum(math.log(confidence) for _, confidence in sure)
    assert loss_of(result) == pytest.approx(total / (2 + len(sure)), rel=1e-5)
    assert result.sums["a"]["num_agreed"].item() == 4
    assert net.num_seen == 6, "no second forward"


def test_cps() -> None:
    method = method_of("cps")
    nets = nets_of(method)
    result = method.losses(nets, make_batch(), POSITION)
    for name, other in (("a", "b"), ("b", "a")):
        total = 0.0
        for row in POOL:
            label, _ = best(nets[other].probs(row))
            total += entropy(nets[name].probs(row + 10), label)
        expected = on_labels(nets[name]) + 1.5 * total / 4
        assert loss_of(result, name) == pytest.approx(expected, rel=1e-5)
        assert result.sums[name]["weight"].item() == 4
        assert result.sums[name]["predicted"].tolist() == called(nets[other])
    assert called(nets["a"]) != called(nets["b"])
    assert method.gamma(POSITION) is None


@pytest.mark.parametrize("teacher", ["peer", "peer-average"])
def test_dmt_online(teacher: str) -> None:
    """The paper's table, of what both peers, or their averages, answer to the weak view."""
    method = method_of("dmt-online", unlabeled_weight=2.0, teacher=teacher)
    nets = nets_of(method)
    averages = {"a": Table(7), "b": Table(10)}
    method.begin(averages)
    averages = averages if teacher == "peer-average" else nets
    result = method.losses(nets, make_batch(), POSITION)
    seen = set()
    for name, other in (("a", "b"), ("b", "a")):
        total = weights = 0.0
        num_agreed = 0
        for row in POOL:
            label, teacher = best(averages[other].probs(row))
            own = averages[name].probs(row)
            decision, student = best(own)
            case = "agree" if decision == label else "surer" if student > teacher else "less sure"
            weight = {"agree": own[label] ** 2, "less sure": own[label] ** 3, "surer": 0.0}[case]
            seen.add(case)
            num_agreed += case == "agree"
            weights += weight
            total += weight * entropy(nets[name].probs(row + 10), label)
        expected = on_labels(nets[name]) + 2 * total / 4
        assert loss_of(result, name) == pytest.approx(expected, rel=1e-5)
        assert result.sums[name]["weight"].item() == pytest.approx(weights, rel=1e-5)
        assert result.sums[name]["num_agreed"].item() == num_agreed
    assert seen == {"agree", "less sure", "surer"}
    assert method.gamma(POSITION) == 2.0


@pytest.mark.parametrize("is_class_balanced", [True, False])
def test_dmt_online_learns_the_surest_of_a_batch_more_of_them_later(
    is_class_balanced: bool,
) -> None:
    method = method_of(
        "dmt-online", fractions=(0.25, 0.5, 1.0), is_class_balanced=is_class_balanced
    )
    nets, whole = nets_of(method), method_of("dmt-online", fractions=(1.0,))
    whole.begin(nets)
    weight = whole.losses(nets, make_batch(), POSITION).sums["a"]["weight"].item()
    answers = [best(nets["b"].probs(row)) for row in POOL]
    for step, fraction in ((0, 0.25), (6, 0.25), (7, 0.5), (13, 0.5), (14, 1.0), (19, 1.0)):
        kept = []
        for group in range(K) if is_class_balanced else [None]:
            of_group = sorted(
                (confidence, row)
                for row, (label, confidence) in zip(POOL, answers, strict=True)
                if group in (None, label)
            )
            num = max(1, math.floor(fraction * len(of_group) + 0.5))
            kept += [row for _, row in of_group[-num:]]
        alone = make_batch()
        is_kept = alone.is_labeled | torch.isin(alone.ids, torch.tensor(kept))
        alone = alone._replace(valid=is_kept)
        position = POSITION._replace(step=step)
        result = method.losses(nets, make_batch(), position)
        expected = whole.losses(nets, alone, position).sums["a"]["weight"].item()
        assert result.sums["a"]["weight"].item() == pytest.approx(expected, rel=1e-6)
        assert (expected == pytest.approx(weight)) == (len(kept) == 4)
        assert result.sums["a"]["num_pseudo"].item() == 4, "they are labeled, and count as zero"


def test_mean_teacher() -> None:
    """Brier's score to what the average says of the weak view, ramped."""
    method = method_of("mean-teacher")
    nets, average = nets_of(method), Table(9).eval()
    method.begin({"a": average})
    for step, scale in ((0, math.exp(-5 * (1 - 1 / 8) ** 2)), (7, 1.0), (19, 1.0)):
        result = method.losses(nets, make_batch(), POSITION._replace(step=step))
        total = sum(
            (p - q) ** 2
            for row in POOL
            for p, q in zip(nets["a"].probs(row + 10), average.probs(row), strict=True)
        )
        expected = on_labels(nets["a"]) + 5 * scale * total / 4
        assert loss_of(result) == pytest.approx(expected, rel=1e-5)
        assert result.sums["a"]["weight"].item() == pytest.approx(4 * scale)


def test_freematch() -> None:
    """Thresholds of its first step: a tenth of the first guess of 1/K, nine of what it sees."""
    method = method_of("freematch", fairness=0.25)
    nets = nets_of(method)
    result = method.losses(nets, make_batch(), POSITION)
    net = nets["a"]
    answers = [net.probs(row) for row in POOL]
    sure = 0.1 / K + 0.9 * sum(best(probs)[1] for probs in answers) / 4
    expected = [0.1 / K + 0.9 * sum(probs[k] for probs in answers) / 4 for k in range(K)]
    share = [0.1 / K + 0.9 * sum(best(probs)[0] == k for probs in answers) / 4 for k in range(K)]
    total, kept = 0.0, []
    for row, probs in zip(POOL, answers, strict=True):
        label, confidence = best(probs)
        if confidence >= sure * expected[label] / max(expected):
            total += entropy(net.probs(row + 10), label)
            kept.append(net.probs(row + 10))
    assert 0 < len(kept) < 4
    mean = [sum(probs[k] for probs in kept) / len(kept) for k in range(K)]
    called = [sum(best(probs)[0] == k for probs in kept) / len(kept) for k in range(K)]
    aim = [p / h for p, h in zip(expected, share, strict=True)]
    ratio = [p / h if h else 0 for p, h in zip(mean, called, strict=True)]
    fair = sum(
        a / sum(aim) * math.log(r / sum(ratio)) for a, r in zip(aim, ratio, strict=True) if r
    )
    assert loss_of(result) == pytest.approx(on_labels(net) + total / 4 + 0.25 * fair, rel=1e-4)


def test_thresholds_are_kept_over_a_checkpoint() -> None:
    logits = 3 * uniform(1, "logits", num=K * 8).view(8, K)
    confidence, label = logits.softmax(1).max(1)
    valid = torch.ones(8, dtype=torch.bool)
    one, other = (AdaptiveThresholds(K, 0.999, CPU) for _ in range(2))
    for _ in range(3):
        one.see(logits, label, confidence, valid)
    assert not torch.equal(one.state_dict()["kept"], other.state_dict()["kept"])
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.see(logits.flip(0), label.flip(0), confidence.flip(0), valid)
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_nothing_valid_moves_no_threshold() -> None:
    thresholds = AdaptiveThresholds(K, 0.999, CPU)
    logits = torch.zeros(2, K)
    thresholds.see(logits, torch.zeros(2).long(), torch.ones(2), torch.zeros(2).bool())
    torch.testing.assert_close(thresholds.state_dict()["kept"], torch.full((7,), 1 / K))


@pytest.mark.parametrize("name", ["fixmatch", "cps", "dmt-online", "mean-teacher", "freematch"])
def test_pixels_go_the_same_way_and_what_is_not_valid_is_left_out(name: str) -> None:
    """A batch of one-pixel scenes gives the loss of a batch of images; the sixth is padding."""

    class Pixels(Table):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, :, None, None]

    batch = make_batch()
    batch = batch._replace(valid=torch.tensor([True] * 5 + [False]))
    planes = {key: getattr(batch, key).view(-1, 1, 1) for key in ("label", "confidence", "valid")}
    found = []
    for kind, given in ((Table, batch), (Pixels, batch._replace(**planes))):
        method = method_of(name)
        nets = {each: kind(seed) for seed, each in enumerate(method.learners)}
        method.begin(nets)
        found.append(method.losses(nets, given, POSITION))
    for learner, terms in found[0].losses.items():
        for one, two in zip(terms, found[1].losses[learner], strict=True):
            assert torch.equal(one.total, two.total)
            assert torch.equal(one.num_valid, two.num_valid)
        assert terms[1].num_valid.item() == 3


def test_labels_leave_no_trace_in_the_running_statistics() -> None:
    method = method_of("cps")
    nets = nets_of(method)
    method.losses(nets, make_batch(), POSITION)
    assert [int(net.norm.num_batches_tracked or 0) for net in nets.values()] == [1, 1]


def test_a_single_unlabeled_image_can_be_labeled() -> None:
    """By a network whose BatchNorm sees one value a channel of each image."""
    norm, linear = nn.BatchNorm1d(12), nn.Linear(12, K)
    net = nn.Sequential(nn.Flatten(), norm, linear).train()
    images = torch.rand(1, 3, 2, 2)
    logits = answer_of(net, make_batch()._replace(images=images, ids=torch.tensor([0])))
    torch.testing.assert_close(logits, linear(norm.bias.expand(1, 12)).detach())


def test_no_gradient_flows_into_the_teacher() -> None:
    method = method_of("dmt-online")
    nets: Mapping[str, Table] = nets_of(method)
    result = method.losses(nets, make_batch(), POSITION)
    torch.stack([terms.mean() for terms in result.losses["a"]]).sum().backward()
    assert nets["a"].rows.grad is not None
    learned = {int(row) for row in nets["a"].rows.grad.any(dim=1).nonzero()}
    assert learned <= {0, 1, 12, 13, 14, 15}
    assert nets["b"].rows.grad is None


def test_cutmix_lays_images_labels_and_weights_on_each_other() -> None:
    """Boxes are of one size, so the loss is the same sum of pixels, each in another image."""

    class Scene(Table):
        def forward(self, images: Tensor) -> Tensor:
            self.last = images
            found: Tensor = self.rows[images[:, 0].long()].movedim(-1, 1)
            return found

    batch = make_batch()
    planes = {
        key: getattr(batch, key).view(-1, 1, 1).expand(-1, 2, 2)
        for key in ("label", "confidence", "valid")
    }
    batch = batch._replace(**planes)
    found = []
    for cutmix in (0.0, 1.0):
        method, nets = method_of("dmt-online", cutmix=cutmix), {"a": Scene(3), "b": Scene(4)}
        method.begin(nets)
        found.append(method.losses(nets, batch, POSITION))
        learned = [set(image.flatten().tolist()) for image in nets["a"].last]
        boxes = [{12, 13}, {12, 13}, {14, 15}, {14, 15}] if cutmix else [{12}, {13}, {14}, {15}]
        assert learned == [{0}, {1}, *boxes]
    plain, mixed = (each.losses["a"][1] for each in found)
    assert plain.total.item() > 0
    torch.testing.assert_close(mixed.total, plain.total)
    assert mixed.num_valid.item() == plain.num_valid.item() == 16


@pytest.mark.parametrize(("mixup", "temperature"), [(0.0, 1.0), (0.75, 0.5)])
def test_mixmatch(mixup: float, temperature: float) -> None:
    """Two views, of which the second is ten rows on: their mean, sharpened, mixed up."""

    def shifted(batch: Batch, position: Position) -> tuple[Batch, Batch]:
        images = batch.images + (10 if position.stage.endswith("view1") else 0)
        return batch._replace(images=images), batch

    class Blend(Table):
        """Of a mixed image the same mixture of rows."""

        def forward(self, images: Tensor) -> Tensor:
            if not images.is_floating_point():
                return super().forward(images)
            one_hot = torch.zeros(len(images), 20)
            value = images[:, 0, 0, 0]
            low = value.floor().long()
            one_hot[torch.arange(len(images)), low] = 1 - (value - low)
            one_hot[torch.arange(len(images)), (low + 1).clamp(max=19)] += value - low
            found: Tensor = one_hot @ self.rows
            return found

    method = MixMatch(
        same, shifted, K, num_views=2, temperature=temperature, unlabeled_weight=3.0,
        ramp_share=0.0, mixup=mixup,
    )  # fmt: skip
    net, batch = Blend(4), make_batch()
    result = method.losses({"a": net}, batch, POSITION)
    target = torch.zeros(6, K)
    for place, row in enumerate(batch.ids.tolist()):
        if batch.is_labeled[place]:
            target[place, row + 1] = 1
        else:
            mean = [(p + q) / 2 for p, q in zip(net.probs(row), net.probs(row + 10), strict=True)]
            powers = [value ** (1 / temperature) for value in mean]
            target[place] = torch.tensor([value / sum(powers) for value in powers])
    guessed = target[~batch.is_labeled].argmax(1).tolist()
    images = batch.images.float()
    if mixup:
        mix = draw_mix(6, mixup, *POSITION[:3])
        assert mix.share >= 0.5
        images, target = mix(images), mix(target)
    log_probs = net(images).log_softmax(1)
    given = batch.is_labeled
    crossed = -(target * log_probs).sum(1)[given].mean()
    squared = (log_probs.exp() - target).square().sum(1)[~given].mean()
    assert loss_of(result) == pytest.approx((crossed + 3 * squared).item(), rel=1e-5)
    assert result.sums["a"]["num_pseudo"].item() == 4
    assert result.sums["a"]["given"].tolist() == [0, 1, 1]
    assert result.sums["a"]["predicted"].tolist() == [guessed.count(number) for number in range(K)]


def test_the_ramp_rises_over_its_share_of_the_steps() -> None:
    factors = [ramp(0.4, POSITION._replace(step=step)) for step in range(20)]
    assert factors[:8] == sorted(factors[:8])
    assert factors[0] < 0.05
    assert set(factors[7:]) == {1.0}
    assert ramp(None, POSITION._replace(step=0)) == ramp(0.0, POSITION._replace(step=0)) == 1.0


def test_forwards_without_gradient_are_counted() -> None:
    assert Online("rule", "peer").num_forwards == 1
    assert Online("confident", is_same_view=True).num_forwards == 0
    assert Online("mixmatch", views=3).num_forwards == 3


class Recorded(Runtime):
    """One of two ranks: what the other sent is known."""

    def __init__(self, rank: int, sent: list[list[Tensor]]) -> None:
        super().__init__(torch.device("cpu"), rank=rank, world_size=2)
        object.__setattr__(self, "sent", sent)
        object.__setattr__(self, "own", [])

    def sum(self, value: Tensor) -> Tensor:
        own, sent = self.own, self.sent  # type: ignore[attr-defined]
        own.append(value)
        return value + sent[len(own) - 1] if sent else value


def test_thresholds_and_fairness_of_two_ranks_are_those_of_one() -> None:
    logits = 3 * uniform(1, "logits", num=K * 8).view(8, K)
    valid = torch.tensor([True] * 7 + [False])

    def step(rows: slice, runtime: Runtime) -> tuple[Tensor, Tensor, Tensor]:
        """Which labels count; the fairness as `fit` adds it; its gradient."""
        state = AdaptiveThresholds(K, 0.999, runtime)
        part = logits[rows].clone().requires_grad_()
        confidence, label = part.detach().softmax(1).max(1)
        is_sure = state.see(part.detach(), label, confidence, valid[rows])
        sums = state.fairness(part, valid[rows])
        loss = sums.total / (sums.num_valid * runtime.world_size)
        loss.backward()
        assert part.grad is not None
        return is_sure, loss.detach(), part.grad

    whole = step(slice(8), CPU)
    halves = [slice(0, 4), slice(4, 8)]
    alone = [Recorded(rank, []) for rank in range(2)]
    for rows, runtime in zip(halves, alone, strict=True):
        step(rows, runtime)
    sent = [runtime.own for runtime in alone]  # type: ignore[attr-defined]
    parts = [step(halves[rank], Recorded(rank, sent[1 - rank])) for rank in range(2)]
    assert torch.equal(torch.cat([part[0] for part in parts]), whole[0])
    torch.testing.assert_close(parts[0][1] + parts[1][1], whole[1])
    torch.testing.assert_close(torch.cat([part[2] for part in parts]), whole[2])
