"""Numbers as a reader wants them: rounded, grouped, with units. No HTML, no reading of files."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"
NONE = "\N{EN DASH}"


def fixed(value: float | None, decimals: int, unit: str = "", *, signed: bool = False) -> str:
    """`value` with so many decimals, a real minus sign and a unit; a dash for None."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS) + (f"{NARROW}{unit}" if unit else "")


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction in 0-1 as percent; a dash for None."""
    return fixed(None if fraction is None else 100 * fraction, decimals, "%")


def count(value: float | None) -> str:
    """A whole number in groups of three digits; a dash for None."""
    return NONE if value is None else f"{round(value):,}".replace(",", NARROW).replace("-", MINUS)


def short(value: float | None) -> str:
    """A number in about three digits with k, M or G, for axes and large counts."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scale = limit if unit != "k" else 1e3
            return f"{value / scale:.3g}{NARROW}{unit}".replace("-", MINUS)
    if size == 0 or size >= 0.001:
        text = f"{value:.3g}" if size < 1000 else f"{value:.0f}"
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return text.replace("-", MINUS)


def amount(value: float | None, unit: str) -> str:
    """A number of images, or of pixels, of which there are too many for every digit."""
    return short(value) if unit == "pixels" else count(value)


def duration(seconds: float | None) -> str:
    """Seconds as `48 s`, `3 min 20 s` or `2 h 5 min`; a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 10:
        return f"{seconds:.1f}{NARROW}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NARROW}s"
    if whole < 3600:
        return f"{whole // 60}{NARROW}min {whole % 60}{NARROW}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{NARROW}h {minutes % 60}{NARROW}min"


def p_value(value: float | None) -> str:
    """A p-value after `p`: `= 0.031`, or `< 0.001`; empty for None."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"
