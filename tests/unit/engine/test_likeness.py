"""How alike two labelings are, against numpy, and where that cannot be said."""

from __future__ import annotations

import numpy as np
import pytest

from dmt.engine.likeness import Comparison, spread


def test_pieces_add_up_to_the_whole() -> None:
    draw = np.random.default_rng(0)
    label, twin = draw.integers(0, 3, (2, 5, 4, 6)).astype(np.uint8)
    sureness, other = draw.random((2, 5, 4, 6), dtype=np.float32)
    comparison = Comparison()
    for piece in zip(label, twin, sureness, other, strict=True):
        comparison.add(*piece)
    found = comparison.result()
    assert found is not None
    assert found.agreement == (label == twin).mean()
    expected = np.corrcoef(sureness.ravel(), other.ravel())[0, 1]
    assert found.correlation == pytest.approx(expected, abs=1e-6)


def test_equal_ones_are_alike_and_constant_ones_say_nothing() -> None:
    label, sureness = np.arange(5), np.array([3, 65535, 7, 8, 9])
    comparison = Comparison()
    assert comparison.result() is None
    comparison.add(label, label, sureness, sureness)
    assert comparison.result() == (1.0, pytest.approx(1.0))
    flat = Comparison()
    flat.add(label, label, sureness, np.full(5, 65535))
    assert flat.result() == (1.0, None)


@pytest.mark.parametrize(("total", "num"), [(10, 3), (3, 10), (7, 7), (0, 5), (5, 0)])
def test_rows_are_spread_over_all(total: int, num: int) -> None:
    rows = spread(total, num).tolist()
    assert len(set(rows)) == len(rows) == min(total, num)
    assert all(0 <= row < total for row in rows)
    if rows:
        assert rows[0] == 0
        assert max(rows) >= total - total / len(rows) - 1
