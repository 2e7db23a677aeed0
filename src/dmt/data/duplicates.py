"""The same image in two parts of a data set, told by a hash of its content. No pixels here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from dmt.data.decode import shown
from dmt.records import DATA_STAGE, Alarm

_HELD_OUT = ("val", "test")
_PARTS = ("labeled", "unlabeled", *_HELD_OUT)
_NAMED = 20  # paths that an alarm lists

File = tuple[str, int, str, str]
"""Path, bytes, hash of the content and part of an image, as `fingerprint` lists them."""


def duplicate_alarms(
    files: Iterable[File], label_of: Callable[[str], object | None]
) -> list[Alarm]:
    """What is wrong with images whose content is there more than once.

    Copies in one part are no fault (a film repeats a frame) unless their labels differ.

    Args:
        files: of every image; those of another part than labeled, unlabeled, val and test are
            passed over.
        label_of: from a path to its label, None where it has none or none that may be looked at;
            asked of copies alone.

    Returns:
        At most one alarm for every two parts, and one for contradictions, with their paths.
    """
    across: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    contradictions = []
    for paths in _copies(files):
        parts = [part for part in _PARTS if part in paths]
        for number, one in enumerate(parts):
            for other in parts[number + 1 :]:
                across[one, other] += [(path, paths[one][0]) for path in paths[other]]
        labels = {path: label_of(path) for part in parts for path in paths[part]}
        first = next((path for path, label in labels.items() if label is not None), None)
        contradictions += [
            (path, first)
            for path, label in labels.items()
            if first is not None and label is not None and label != labels[first]
        ]
    alarms = [_across(one, other, pairs) for (one, other), pairs in across.items()]
    return alarms + ([_contradicting(contradictions)] if contradictions else [])


def _copies(files: Iterable[File]) -> list[dict[str, list[str]]]:
    """Of every content that is there more than once, the paths by part."""
    groups: dict[tuple[int, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, num_bytes, digest, part in files:
        if part in _PARTS:
            groups[num_bytes, digest][part].append(path)
    return [each for each in groups.values() if sum(map(len, each.values())) > 1]


def _across(one: str, other: str, pairs: Sequence[tuple[str, str]]) -> Alarm:
    num = len(pairs)
    what = (
        f"{num:,} {other} image{' is' if num == 1 else 's are'} among the {one} images too: "
        f"{_example(pairs)}"
    )
    if other in _HELD_OUT:
        return Alarm(
            kind="duplicate-held-out",
            stage=DATA_STAGE,
            message=f"{what}; what is measured on {'it' if num == 1 else 'them'} flatters.",
            remedy=f"Remove the cop{'y' if num == 1 else 'ies'} from the {one} images.",
            about=_listed(pairs),
        )
    return Alarm(
        kind="duplicate-unlabeled",
        stage=DATA_STAGE,
        message=f"{what}.",
        remedy=f"Remove the cop{'y' if num == 1 else 'ies'} from the {other} images, where "
        f"{'it teaches' if num == 1 else 'they teach'} nothing new.",
        about=_listed(pairs),
    )


def _contradicting(pairs: Sequence[tuple[str, str]]) -> Alarm:
    num = len(pairs)
    return Alarm(
        kind="duplicate-labels",
        stage=DATA_STAGE,
        message=f"{num:,} image{' is' if num == 1 else 's are'} there twice, with another label "
        f"each time: {_example(pairs)}.",
        remedy="Look which label is right, and remove the copy that has the other.",
        about=_listed(pairs),
    )


def _example(pairs: Sequence[tuple[str, str]]) -> str:
    copy, original = pairs[0]
    more = f", and {len(pairs) - 1:,} more" if len(pairs) > 1 else ""
    return f"{shown(copy)} equals {shown(original)}{more}"


def _listed(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(path for pair in pairs for path in pair))[:_NAMED]
