"""What the words of a result mean: numbers, dates, addresses, which way is better. No files."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import urlsplit

from dmt.insight.numbers import MINUS

_LONGEST = 64  # letters of a value
_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.\d*)?(?:[eE][+-]?\d{1,3})?"
_VALUE = re.compile(
    rf"(?P<low>{_NUMBER})\s*%?(?:\s*–\s*(?P<high>{_NUMBER})\s*%?|"
    rf"\s*(?:±|\+/-|\+-)\s*{_NUMBER}\s*%?)?"
)
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_LOWER = frozenset(
    {
        *("error", "errors", "loss", "cost", "distance", "deviation", "perplexity", "ppl", "nll"),
        *("mae", "mse", "rmse", "mpjpe", "epe", "fid", "kid", "wer", "cer", "eer", "bits"),
        *("time", "latency", "runtime", "params", "flops"),
    }
)


def number(value: Any) -> float | None:
    """The number that a value of an evaluation table states, or None where it states none.

    Args:
        value: a number, or a text such as `94.21`, `5.79 ± 0.02`, `72.7 %` or `4.2–4.3`, which
            counts as its middle. A unit other than % makes it no number.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            found = float(value)
        except OverflowError:
            return None
        return found if math.isfinite(found) else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    match = _VALUE.fullmatch(value.strip().replace(MINUS, "-"))
    if match is None:
        return None
    ends = [float(end.replace(",", "")) for end in match.group("low", "high") if end is not None]
    found = sum(ends) / len(ends)
    return found if math.isfinite(found) else None


def is_lower_better(metric: str) -> bool:
    """Whether less of a metric is better; an evaluation table does not say, so by its name."""
    return not _LOWER.isdisjoint(re.findall(r"[a-z]+", metric.lower()))


def year(date: Any) -> float | None:
    """A date `2020`, `2020-04` or `2020-04-18` in years, or None where it is none of these."""
    match = _DATE.fullmatch(date) if isinstance(date, str) else None
    if match is None:
        return None
    months, days = int(match[2] or 1), int(match[3] or 1)
    if not (1 <= months <= 12 and 1 <= days <= 31):
        return None
    return int(match[1]) + (months - 1) / 12 + (days - 1) / 372


def web_address(value: Any) -> str | None:
    """`value` if it is an address of http or https that a page may link to, else None."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme.lower() in {"http", "https"} and parts.netloc else None


def text(value: Any) -> str:
    """`value` if it is a text, without blanks around it, else nothing."""
    return value.strip() if isinstance(value, str) else ""
