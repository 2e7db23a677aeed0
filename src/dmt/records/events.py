"""What a line of `metrics.jsonl` must hold to be used; what it means stands in `docs/run-folder`.

A record may have been mended by hand or damaged by a disk: who reads it asks here first. Fields
that nothing uses are not looked at, so that a later version may add some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_NEEDED = {
    "step": ("stage", "peer", "step", "images_seen"),
    "label": ("stage", "round", "teacher", "student", "pool", "selected"),
    "evaluate": ("stage", "peer", "split"),
    "error_detection": (
        "stage", "round", "teacher", "num_images", "num_blocks", "num_labels", "num_wrong",
        "num_selected", "num_selected_wrong", "scores", "gains",
    ),
    "alarm": ("stage", "kind", "message", "remedy"),
}  # fmt: skip
# Needed too, but null where it is not known.
_MAY_BE_NULL = {
    "label": ("label_fraction", "pseudo_label_accuracy"),
    "evaluate": ("value",),
}
_INTERVAL = ("value", "low", "high")
_LARGEST = 2**53  # whole numbers up to here are floats too
_LARGEST_LOSS = 1e300  # of float32 and more; twice as much can still be drawn


def fault_in(event: Any) -> str:
    """What is wrong with the JSON value of a line, in a few words; empty if nothing is."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it is no event"
    kind = event["event"]
    for name in _NEEDED.get(kind, ()):
        if event.get(name) is None:
            return f"{kind} without {name}"
    for name in _MAY_BE_NULL.get(kind, ()):
        if name not in event:
            return f"{kind} without {name}"
    return next(
        (
            f"{name} is {what}"
            for name, value in event.items()
            if value is not None and (what := _KINDS.get(name, _anything)(value))
        ),
        "",
    )


def _anything(value: Any) -> str:
    return ""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return "no text"
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair, which no file can hold
        return "no text"
    return ""


def _number(value: Any) -> str:
    if isinstance(value, float):  # neither NaN nor infinity is at most anything
        return "" if abs(value) <= _LARGEST_LOSS else "no number"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return "" if is_number and abs(value) <= _LARGEST else "no number"


def _whole(value: Any) -> str:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return "" if is_whole and 0 <= value <= _LARGEST else "no whole number"


def _list_of(look: Callable[[Any], str]) -> Callable[[Any], str]:
    """A list in which every value is as `look` wants it."""

    def look_at_all(values: Any) -> str:
        is_list = isinstance(values, list)
        return next((what for each in values if (what := look(each))), "") if is_list else "no list"

    return look_at_all


def _threshold(value: Any) -> str:
    """One for all, or one a class."""
    values = value if isinstance(value, list) else [value]
    return next((what for each in values if each is not None and (what := _number(each))), "")


def _classes(value: Any) -> str:
    """What a labeling or an evaluation says of every class."""
    if not isinstance(value, list):
        return "no list"
    return next((what for each in value if each is not None and (what := _of_class(each))), "")


def _of_class(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _number(value)
    if any(_text(value.get("name")) or _whole(value.get(n)) for n in ("predicted", "selected")):
        return "not what a labeling says of a class"
    accuracy = value.get("accuracy")
    return "" if accuracy is None else _number(accuracy)


def _figures(*names: str) -> Callable[[Any], str]:
    """By name a record of these figures, and no others."""

    def look(value: Any) -> str:
        if not isinstance(value, Mapping) or any(
            _text(name) or not isinstance(entry, Mapping) or not entry.keys() <= set(names)
            for name, entry in value.items()
        ):
            return "not what says how errors were found"
        figures = (each for entry in value.values() for each in entry.values())
        return next((what for each in figures if each is not None and (what := _number(each))), "")

    return look


def _gains(value: Any) -> str:
    """Differences with their intervals, by name."""
    if what := _figures(*_INTERVAL)(value):
        return what
    is_whole = all(entry.get(name) is not None for entry in value.values() for name in _INTERVAL)
    return "" if is_whole else "no interval"


_KINDS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(
        ("stage", "peer", "teacher", "student", "split", "metric", "unit", "kind", "message",
         "remedy"), _text,
    ),
    **dict.fromkeys(
        ("round", "step", "num_steps", "num_images", "pool", "selected", "num_blocks",
         "num_labels", "num_wrong", "num_selected", "num_selected_wrong"), _whole,
    ),
    **dict.fromkeys(
        ("time", "images_seen", "loss", "agreement", "mean_weight", "gamma", "lr", "value",
         "images_per_second", "seconds", "label_fraction", "pseudo_label_accuracy",
         "pool_accuracy", "peer_agreement", "peer_correlation"), _number,
    ),
    "threshold": _threshold,
    "given": _list_of(_whole),
    "predicted": _list_of(_whole),
    "about": _list_of(_text),
    "classes": _classes,
    "scores": _figures("ap", "auroc", "ap_selected", "auroc_selected"),
    "gains": _gains,
}  # fmt: skip
