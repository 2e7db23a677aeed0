"""Dynamic Mutual Training: learn from few labels and many unlabeled images.

`dmt.train(data, **settings)`, `dmt.compare` and `dmt.load(run)` are the library; `dmt.core` the
bare rules. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmt.api import Model, Run, evaluate, load, resume, train
    from dmt.comparisons.comparing import compare

__version__ = "0.1.0"
__all__ = ["Model", "Run", "__version__", "compare", "evaluate", "load", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name == "compare":
        from dmt.comparisons import comparing

        return comparing.compare
    if name in __all__:
        from dmt import api

        return getattr(api, name)
    raise AttributeError(f"module 'dmt' has no attribute {name!r}")
