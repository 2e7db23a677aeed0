"""Mask files: how their values become classes. Where masks lie is the layouts' business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coding:
    """How the values in mask files become classes 0 … K−1 and 255 for pixels left out.

    Attributes:
        num_classes: K, at most 255.
        values: class (or 255) of every file value from 0 on; values beyond it are wrong. None:
            a value is its class and 255 is left out.
        colors: RGB of every class, for masks that are colour pictures; None for index masks.
    """

    num_classes: int
    values: tuple[int, ...] | None = None
    colors: tuple[tuple[int, int, int], ...] | None = None
