"""Scores of how wrong a pseudo label looks, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from dmt.core import error_scores, weigh
from dmt.core.error_scores import ONE_NETWORK, TWO_NETWORKS

TEACHER = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]).log()
OTHER = torch.tensor([[0.5, 0.4, 0.1], [0.7, 0.2, 0.1]]).log()
LABEL = torch.tensor([0, 2])


def test_by_hand() -> None:
    found = error_scores(TEACHER, OTHER, LABEL, 1.0, 2.0)
    expected = {
        "confidence": [0.4, 0.4],
        "margin": [1 - (0.6 - 0.3), 1 - (0.6 - 0.2)],
        "entropy": [
            -sum(p * math.log(p) for p in (0.6, 0.3, 0.1)),
            -sum(p * math.log(p) for p in (0.2, 0.2, 0.6)),
        ],
        "other_probability": [0.5, 0.9],
        # agreement: 1 − 0.5 ** 1; then the student is surer of another class: weight 0
        "dmt_weight": [0.5, 1.0],
        "disagreement": [1 - (0.5 + 0.3 + 0.1), 1 - (0.2 + 0.2 + 0.1)],
        "ensemble_confidence": [1 - 0.55, 1 - 0.45],
        "ensemble_probability": [1 - 0.55, 1 - 0.35],
    }
    assert list(found) == list(expected) == [*ONE_NETWORK, *TWO_NETWORKS]
    for name, values in expected.items():
        assert found[name].dtype == torch.float64
        assert found[name].tolist() == pytest.approx(values, abs=1e-6), name


def test_one_network_has_its_own_scores_alone() -> None:
    alone, both = (error_scores(TEACHER, other, LABEL, 1.0, 1.0) for other in (None, OTHER))
    assert tuple(alone) == ONE_NETWORK
    assert all(torch.equal(alone[name], both[name]) for name in alone)


def test_the_weight_is_that_of_the_paper_s_rule() -> None:
    teacher, other = torch.randn(2, 64, 5, generator=torch.Generator().manual_seed(0)) * 3
    label, confidence = teacher.argmax(1), teacher.softmax(1).amax(1)
    weight = weigh("dmt", other, label, confidence, 2.0, 3.0).weight
    score = error_scores(teacher, other, label, 2.0, 3.0)["dmt_weight"]
    torch.testing.assert_close(1 - score, weight.double())
    assert 0 < int((score == 1).sum()) < 64, "some labels are overruled"


def test_a_pixel_is_an_image() -> None:
    """(N, K, H, W) is the same arithmetic as (N·H·W, K)."""
    teacher, other = torch.randn(2, 2, 4, 3, 5, generator=torch.Generator().manual_seed(1))
    flat = [each.movedim(1, -1).reshape(-1, 4) for each in (teacher, other)]
    scenes = error_scores(teacher, other, teacher.argmax(1), 1.0, 1.0)
    images = error_scores(*flat, flat[0].argmax(1), 1.0, 1.0)
    for name, each in scenes.items():
        assert each.shape == (2, 3, 5)
        torch.testing.assert_close(each.reshape(-1), images[name], rtol=1e-6, atol=1e-12)


def test_sure_labels_are_told_apart_where_float32_cannot() -> None:
    logits = torch.tensor([[30.0, 0.0], [31.0, 0.0], [60.0, 0.0]])
    assert logits.softmax(1)[:, 0].tolist() == [1.0, 1.0, 1.0]
    for name, score in error_scores(logits, None, torch.zeros(3).long(), 1.0, 1.0).items():
        assert score[0] > score[1] > score[2] > 0, name
