"""A labeling by shards: the same labels as at once, and going on keeps what is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dmt.core import predict
from dmt.data.pool import MemoryPool
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.finite import NotFiniteError
from dmt.engine.runtime import Runtime
from dmt.engine.stage import LabelStage
from dmt.errors import RunError
from dmt.tasks import large_labeling
from dmt.tasks.large_labeling import is_large, label_in_shards

CPU = Runtime(torch.device("cpu"))
STAGE = LabelStage(
    name="round1/label/a", role="round", round=1, peer="a", fold=None, needs=("round0/a",),
    student="b", fraction=0.5,
)  # fmt: skip
NUM, EACH = 44, 8
IDS = torch.arange(3, 3 + NUM)
POOL = MemoryPool(torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8))


class Net(nn.Module):
    """Counts the images it sees, and breaks down or answers nonsense when it is told to."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 3)
        nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(seed))
        self.num_seen = 0
        self.last = NUM
        self.is_sane = True

    def forward(self, images: Tensor) -> Tensor:
        if self.num_seen >= self.last:
            raise KeyboardInterrupt
        self.num_seen += len(images)
        logits: Tensor = self.linear(images.flatten(1) / 255)
        if not self.is_sane:
            logits[0] = torch.nan
        return logits


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_labeling, "IMAGES_A_SHARD", EACH)


def run(net: Net, folder: Path, ids: Tensor = IDS) -> int:
    """Label; how many images the network was asked about."""
    net.num_seen = 0
    label_in_shards(STAGE, net, POOL, ids, folder, 3, 0, CPU)
    return net.num_seen


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_labels_as_at_once(tmp_path: Path) -> None:
    net = Net()
    assert is_large(NUM)
    assert not is_large(EACH)
    assert run(net, tmp_path / "labels") == NUM
    store = ImageLabels(tmp_path / "labels")
    said = predict(torch.cat([net.linear(POOL.batch(part).flatten(1) / 255)
                              for part in IDS.split(EACH)]))  # fmt: skip
    assert torch.equal(store.ids, IDS)
    assert torch.equal(store.label, said.label.long())
    assert torch.equal(store.code, said.code.long())
    assert int(store.is_selected.sum()) == NUM // 2


def test_going_on_does_what_is_left_alone_to_the_same_bytes(tmp_path: Path) -> None:
    net, folder = Net(), tmp_path / "labels"
    run(net, tmp_path / "whole")
    for last in (2 * EACH, EACH):
        net.last = last
        with pytest.raises(KeyboardInterrupt):
            run(net, folder)
        with pytest.raises(RunError):
            ImageLabels(folder)
    net.last = NUM
    assert run(net, folder) == NUM - 3 * EACH
    assert files(folder) == files(tmp_path / "whole")
    assert run(net, folder) == 0


@pytest.mark.parametrize("what", ["network", "images"])
def test_another_question_begins_anew(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    run(Net(), folder)
    net, ids = (Net(1), IDS) if what == "network" else (Net(), IDS + 1)
    assert run(net, folder, ids) == NUM
    run(net, tmp_path / "whole", ids)
    assert files(folder) == files(tmp_path / "whole")


def test_a_shard_without_finite_answers_is_not_kept(tmp_path: Path) -> None:
    net, folder = Net(), tmp_path / "labels"
    net.is_sane = False
    with pytest.raises(NotFiniteError) as error:
        run(net, folder)
    assert error.value.ids == tuple(IDS[::EACH].tolist())
    net.is_sane = True
    assert run(net, folder) == NUM
