"""Pictures for a page: data URIs, small enough that all of them fit. Arrays in, text out."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_OVERHEAD, _A_PIXEL = 120, 0.16  # bytes of a WebP: its header, and a pixel of a photo at quality 70
_LEAST, _MOST = 24, 224  # pixels a side
_AS_TEXT = 0.75  # bytes that a byte of base64 holds


class Pictures:
    """Gives pictures away until a page is full.

    Args:
        num_bytes: of text, for all of them.
        num: how many there will be.
        most: pixels a side.
    """

    def __init__(self, num_bytes: int, num: int, most: int = _MOST) -> None:
        self._left = num_bytes
        each = _AS_TEXT * num_bytes / max(1, num) - _OVERHEAD
        self.side = int(min(most, max(_LEAST, math.sqrt(max(0.0, each) / _A_PIXEL))))
        self.num_refused = 0

    def photo(self, image: NDArray[np.uint8]) -> str:
        """uint8 (H, W, 3) as a data URI within `side`; empty when the page is full."""
        return self._uri(image, Image.Resampling.BICUBIC)

    def mask(self, label: NDArray[np.uint8], colors: NDArray[np.uint8]) -> str:
        """uint8 (H, W), classes and what is left out (white), in the classes' colours."""
        table = np.full((256, 3), 255, dtype=np.uint8)
        table[: len(colors)] = colors
        return self._uri(table[label], Image.Resampling.NEAREST, is_exact=True)

    def heat(self, values: NDArray[np.float32]) -> str:
        """Float (H, W), 0 (black) to 1 (white)."""
        grey = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        return self._uri(np.repeat(grey[..., None], 3, axis=2), Image.Resampling.BICUBIC)

    def _uri(
        self, image: NDArray[np.uint8], how: Image.Resampling, *, is_exact: bool = False
    ) -> str:
        picture = Image.fromarray(image)
        if max(picture.size) > self.side:
            scale = self.side / max(picture.size)
            size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            picture = picture.resize(size, how)
        stream = io.BytesIO()
        is_tiny = max(picture.size) <= 48  # blocks of a lossy format would be most of what is seen
        picture.save(stream, "WEBP", quality=70, lossless=is_tiny or is_exact)
        uri = "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
        if len(uri) > self._left:
            self.num_refused += 1
            return ""
        self._left -= len(uri)
        return uri
