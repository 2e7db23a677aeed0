"""Random numbers as a function of where we are: a stateless hash, never a generator with history.

The same `(seed, *where)` gives the same bits on every device, in every process and after every
resume. Nothing here touches torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dmt.core.sending import sent

Place = int | str | Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_NUM_ROUNDS = 6  # of the Feistel network; 4 are enough for a pseudo-random permutation


def hashed(seed: int, *where: int | str) -> int:
    """Fold a seed and a place into 64 bits (0 ≤ result < 2⁶⁴), in plain Python.

    The finaliser is splitmix64's (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, 2014); strings enter by their UTF-8 bytes.
    """
    state = _mix_int(_as_int(seed))
    for item in where:
        state = _mix_int(((state + _GOLDEN) & _MASK) ^ _as_int(item))
    return state


def bits(seed: int, *where: Place) -> Tensor:
    """63 random bits for every element of the tensors among `where`.

    Args:
        seed: any integer.
        where: integers and strings, and int64 tensors that broadcast to one shape.

    Returns:
        int64 tensor of the broadcast shape (0-d without a tensor), values in [0, 2⁶³), on the
        tensors' device. Equal to `hashed(seed, *where) >> 1` element by element.
    """
    state: Tensor | int = hashed(seed)
    for item in where:
        if isinstance(state, Tensor):
            absorbed = item.long() if isinstance(item, Tensor) else _signed(_as_int(item))
            state = _mix_tensor((state + _signed(_GOLDEN)) ^ absorbed)
        elif isinstance(item, Tensor):
            state = _mix_tensor(item.long() ^ _signed((state + _GOLDEN) & _MASK))
        else:
            state = _mix_int(((state + _GOLDEN) & _MASK) ^ _as_int(item))
    if not isinstance(state, Tensor):
        state = torch.tensor(_signed(state))
    return _shift_right(state, 1)


def uniform(seed: int, *where: Place, num: int, device: torch.device | None = None) -> Tensor:
    """`num` independent numbers in [0, 1) for every element of the tensors among `where`.

    Args:
        seed: any integer.
        where: as in `bits`.
        num: how many numbers for one place.
        device: where the result lives if `where` holds no tensor (default: CPU).

    Returns:
        float32 of shape (*broadcast shape, num), multiples of 2⁻²⁴.
    """
    places = [item.unsqueeze(-1) if isinstance(item, Tensor) else item for item in where]
    if device is None:
        device = next((item.device for item in where if isinstance(item, Tensor)), None)
    columns = torch.arange(num, device=device)
    return _shift_right(bits(seed, *places, columns), 39).float() * 2.0**-24


def uniform_float(seed: int, *where: int | str) -> float:
    """One number in [0, 1) as a Python float with 53 random bits; no tensor is made."""
    return (hashed(seed, *where) >> 11) * 2.0**-53


def beta_float(alpha: float, seed: int, *where: int | str) -> float:
    """One draw from Beta(alpha, alpha), by Jöhnk's rejection (for alpha ≤ 1 a few tries).

    Raises:
        ValueError: alpha is not positive.
    """
    x: float
    y: float
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, not {alpha}")
    attempt = 0
    while True:
        x = uniform_float(seed, *where, attempt, 0) ** (1 / alpha)
        y = uniform_float(seed, *where, attempt, 1) ** (1 / alpha)
        if 0 < x + y <= 1:
            return x / (x + y)
        attempt += 1


def shuffled(num_orders: int, size: int, seed: int, *where: int | str) -> Tensor:
    """`num_orders` independent random orders of `range(size)`, each written down as a whole.

    For orders that are small and wanted whole this is faster than `permuted`.

    Returns:
        int64 (num_orders, size) on the CPU.
    """
    ranks = bits(seed, *where, torch.arange(num_orders * size)).view(num_orders, size)
    return ranks.argsort(dim=1, stable=True)


def permuted(index: Tensor, size: int, seed: int, *where: Place) -> Tensor:
    """Where `index` lands under a random permutation of `range(size)`.

    A Feistel network over the next even power of two, walked until it falls inside: memory and
    time depend on `index` alone, so an order of 10⁸ images is never written down. For a handful
    of elements not every order is equally likely; `shuffled` is uniform for those.

    Args:
        index: int64, any shape, values in [0, size).
        size: length of the order.
        seed, where: name the permutation; a tensor among `where`, of the index's shape, gives
            every element a permutation of its own.

    Returns:
        int64 of the same shape; for equal `where` a bijection of [0, size).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = [bits(seed, *where, "feistel", turn) for turn in range(_NUM_ROUNDS)]
    keys = [sent(key, index.device) for key in keys]
    value = _feistel(index.long(), half, keys)
    outside = value >= size
    while bool(outside.any()):
        value = torch.where(outside, _feistel(value, half, keys), value)
        outside = value >= size
    return value


def permuted_by_blocks(
    index: Tensor, size: int, block: int, window: int, seed: int, *where: Place
) -> Tensor:
    """Where `index` lands under a random permutation of `range(size)` that keeps neighbours near.

    The order of blocks of neighbours is a permutation, and within every `window` blocks that
    follow each other in it all is shuffled. So whoever reads in this order touches `window` blocks
    at a time, each once. What is left over after the last whole block comes last.

    Args:
        index: int64, any shape, values in [0, size).
        size: length of the order.
        block: neighbours that stay near each other, at least 1.
        window: blocks that are shuffled into one another, at least 1.
        seed, where: as `permuted` takes them.

    Returns:
        int64 of the same shape; for equal `where` a bijection of [0, size).
    """
    num_blocks, span = size // block, window * block
    whole = num_blocks * block
    landed = torch.empty_like(index)
    for first, stop, length in (
        (0, whole // span * span, span),
        (whole // span * span, whole, whole % span),
        (whole, size, size - whole),
    ):
        inside = (index >= first) & (index < stop)
        if not bool(inside.any()):
            continue
        own = [each[inside] if isinstance(each, Tensor) else each for each in where]
        number = (index[inside] - first) // length
        place = permuted((index[inside] - first) % length, length, seed, *own, first, number)
        if first == whole:
            landed[inside] = whole + place
            continue
        slot = first // block + number * window + place // block
        landed[inside] = permuted(slot, num_blocks, seed, *own, "blocks") * block + place % block
    return landed


def _feistel(value: Tensor, half: int, keys: list[Tensor]) -> Tensor:
    low_bits = (1 << half) - 1
    left, right = value >> half, value & low_bits
    for key in keys:
        left, right = right, left ^ (_mix_tensor(right ^ key) & low_bits)
    return (left << half) | right


def _as_int(item: int | str) -> int:
    if isinstance(item, int):
        return item & _MASK
    value = 0xCBF29CE484222325  # FNV-1a, so that "a", 1 and "b", 0 are four places
    for byte in item.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


def _signed(value: int) -> int:
    """The same 64 bits read as an int64, since torch has no unsigned arithmetic."""
    return value - (1 << 64) if value >> 63 else value


def _shift_right(value: Tensor, amount: int) -> Tensor:
    """Logical shift; torch's `>>` drags the sign along."""
    return (value >> amount) & ((1 << (64 - amount)) - 1)


def _mix_int(value: int) -> int:
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def _mix_tensor(value: Tensor) -> Tensor:
    value = (value ^ _shift_right(value, 30)) * _signed(_MIX_1)
    value = (value ^ _shift_right(value, 27)) * _signed(_MIX_2)
    return value ^ _shift_right(value, 31)
