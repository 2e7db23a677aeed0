"""What many tests need: few threads, a small folder of photos, real data. Holds no tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rank_zygote import Ranks

# Before torch is imported anywhere, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow machine is no failure, and a red test must be red again when it is repeated.
settings.register_profile("dmt", deadline=None, derandomize=True)
settings.load_profile("dmt")


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Starts `dmt` on several ranks; see `rank_zygote`."""
    with Ranks() as warm:
        yield warm


@pytest.fixture
def tmp_photos(tmp_path: Path) -> Callable[..., Path]:
    """A builder of class-folder trees of PNGs; every call writes one and returns its folder.

    `build(name="photos", classes=("blue", "green"), labeled=6, unlabeled=10, val=0, test=0,
    size=32, seed=0)`: counts are images a class (unlabeled ones lie in one folder, mixed). Classes
    differ in colour and in the direction of their stripes, so that any learner can tell them apart.
    """

    def build(
        name: str = "photos",
        *,
        classes: tuple[str, ...] = ("blue", "green"),
        labeled: int = 6,
        unlabeled: int = 10,
        val: int = 0,
        test: int = 0,
        size: int = 32,
        seed: int = 0,
    ) -> Path:
        root = tmp_path / name
        counts = {"labeled": labeled, "val": val, "test": test}
        for place, (part, count) in enumerate(counts.items()):
            for number, label in enumerate(classes):
                for index in range(count):
                    path = root / part / label / f"{index:04d}.png"
                    _write_photo(path, number, len(classes), size, (seed, place, index))
        for index in range(unlabeled * len(classes)):
            path = root / "unlabeled" / f"{index:04d}.png"
            _write_photo(path, index % len(classes), len(classes), size, (seed, 3, index))
        return root

    return build


def _write_photo(
    path: Path, label: int, num_classes: int, size: int, place: tuple[int, ...]
) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng((label, *place))
    turn = np.pi * label / num_classes
    y, x = np.mgrid[:size, :size] / size
    stripes = np.sin(12 * (x * np.cos(turn) + y * np.sin(turn)) + random.uniform(0, 6.28))
    channels = [np.cos(2 * turn + shift) for shift in (0.0, 2.1, 4.2)]
    colour = 128 + 60 * np.array(channels) + 40 * stripes[..., None]
    image = np.clip(colour + random.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def cifar10_jpeg() -> Path:
    """The real photographs `cifar10-jpeg/{train,test}/<class>/` under `$DMT_DATA`, else a skip."""
    data = os.environ.get("DMT_DATA")
    if not data:
        pytest.skip("DMT_DATA is not set: it names the folder that holds cifar10-jpeg")
    folder = Path(data) / "cifar10-jpeg"
    if not (folder / "train").is_dir():
        pytest.skip(f"{folder} holds no train/")
    return folder
