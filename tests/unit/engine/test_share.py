"""Which images a rank answers for, and how sums of ranks are kept: no process is started here."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dmt.engine.fit import Tally
from dmt.engine.forward import BATCH_SIZE, Share
from dmt.engine.runtime import Runtime
from dmt.models.build import Network, build
from dmt.models.weights import restore, save

CPU = torch.device("cpu")


class Written(Runtime):
    """A rank that is told what all of them sent."""

    def __init__(self, rank: int, world_size: int, sent: Sequence[Tensor] = ()) -> None:
        super().__init__(CPU, rank=rank, world_size=world_size)
        object.__setattr__(self, "sent", sent)

    def gather(self, value: Tensor) -> Tensor:
        return torch.cat(list(self.sent))  # type: ignore[attr-defined]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8, 70])
@pytest.mark.parametrize("num", [0, 1, 31, 64, 1400, 40_000])
def test_ranks_have_the_batches_of_one_and_each_once(num: int, world_size: int) -> None:
    ids = torch.arange(num) * 3
    whole = [each.tolist() for each in Share(ids, Runtime(CPU)).batches]
    shares = [Share(ids, Runtime(CPU, rank=rank, world_size=world_size))
              for rank in range(world_size)]  # fmt: skip
    assert [each.tolist() for share in shares for each in share.batches] == whole
    assert max((len(batch) for batch in whole), default=0) <= BATCH_SIZE
    for share in shares:
        own = [id_ for batch in share.batches for id_ in batch.tolist()]
        assert own == ids[share.rows].tolist()
    counts = [len(share.batches) for share in shares]
    assert max(counts) - min(counts) <= 1


def test_answers_come_back_in_order_though_ranks_have_different_numbers() -> None:
    ids = torch.arange(70)  # 32, 32, 6
    rows = [torch.arange(32), torch.arange(32, 70)]
    sent = [torch.cat([rows[0], torch.zeros(6, dtype=torch.int64)]), rows[1]]
    for rank in range(2):
        share = Share(ids, Written(rank, 2, sent))
        parts = rows[rank].split(32)
        assert share.join(parts, torch.empty(0, dtype=torch.int64)).tolist() == list(range(70))


def test_a_rank_without_images_has_answers_too() -> None:
    ids = torch.arange(3)
    share = Share(ids, Written(0, 2, [torch.zeros(3, 2), torch.ones(3, 2)]))
    assert list(share.batches) == []
    assert torch.equal(share.join([], torch.empty(0, 2)), torch.ones(3, 2))


def test_sums_of_ranks_are_taken_up_by_as_many_or_by_others() -> None:
    tally = Tally()
    tally.add({"loss": torch.tensor(2.0)})
    sent = [torch.tensor([2.0]).double(), torch.tensor([5.0]).double()]
    kept = tally.of_all(Written(0, 2, sent))
    assert kept["loss"].tolist() == [2.0, 5.0]
    for world_size, expected in ((2, [2.0, 5.0]), (1, [7.0]), (4, [7.0, 0.0, 0.0, 0.0])):
        for rank in range(world_size):
            again = Tally()
            again.take_up(kept, Runtime(CPU, rank=rank, world_size=world_size))
            assert float(again.sums["loss"]) == expected[rank]


def test_sums_by_class_are_sent_taken_and_taken_up_with_the_scalars() -> None:
    tally = Tally()
    for _ in range(2):
        tally.add({"a.given": torch.tensor([1, 0, 2]), "loss": torch.tensor(0.5)})
    sent = [torch.tensor([[2.0, 0, 4]]).double(), torch.tensor([[0.0, 9, 1]]).double()]
    kept = {"a.given": tally.of_all(Written(0, 2, sent))["a.given"]}
    assert kept["a.given"].tolist() == [[2, 0, 4], [0, 9, 1]]
    for world_size, expected in ((2, [[2, 0, 4], [0, 9, 1]]), (1, [[2, 9, 5]])):
        for rank, values in enumerate(expected):
            again = Tally()
            again.take_up(kept, Runtime(CPU, rank=rank, world_size=world_size))
            assert again.sums["a.given"].tolist() == values
    taken = tally.take(Runtime(CPU))
    assert {name: value.tolist() for name, value in taken.items()} == {
        "a.given": [2, 0, 4], "loss": 1.0
    }  # fmt: skip
    assert tally.take(Runtime(CPU)) == {}


def test_synchronised_batch_norm_is_saved_as_any_other(tmp_path: Path) -> None:
    net = build("wrn_10_1", 3, seed=0, image_size=8)
    names = list(net.state_dict())
    synchronised = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))
    assert isinstance(synchronised, Network)
    assert any(isinstance(each, torch.nn.SyncBatchNorm) for each in synchronised.modules())
    assert list(synchronised.state_dict()) == names
    save(synchronised, tmp_path / "model.safetensors", {"stage": "round0/a"})
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    again = restore(tmp_path / "model.safetensors").eval()
    assert torch.equal(again(images), net.eval()(images))
