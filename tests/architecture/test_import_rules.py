"""The arrows and bans of the architecture hold over the whole source, and each rule can fail."""

from __future__ import annotations

import graphlib
import subprocess
import sys
from collections.abc import Callable

import pytest
from import_rules import (
    ARROWS,
    bad_shape,
    eager_imports,
    foreign_packages,
    imports,
    modules,
    opened_labels,
    unsafe_loading,
    wrong_arrows,
)

Rule = Callable[[str, str], list[str]]
RULES: list[Rule] = [
    wrong_arrows,
    foreign_packages,
    eager_imports,
    opened_labels,
    unsafe_loading,
    bad_shape,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule) -> None:
    violations = [each for module, source in modules() for each in rule(module, source)]
    assert violations == []


def test_the_source_is_found() -> None:
    names = [module for module, _ in modules()]
    assert {"dmt.", "dmt.errors", "dmt.records.", "dmt.core.random", "dmt.engine."} <= set(names)


def test_no_room_leads_back_to_itself() -> None:
    below: dict[str, set[str]] = {}
    for room, may in ARROWS.items():
        first = room.split(".")[0]
        below.setdefault(first, set()).update({each.split(".")[0] for each in may} - {first})
    graphlib.TopologicalSorter(below).prepare()  # raises CycleError


BAD: list[tuple[Rule, str, str]] = [
    (wrong_arrows, "dmt.core.loss", "from dmt.errors import DataError"),
    (wrong_arrows, "dmt.core.loss", "from dmt.data import pool"),
    (wrong_arrows, "dmt.errors", "import dmt.records"),
    (wrong_arrows, "dmt.records", "def f():\n    from dmt.engine import fit"),
    (wrong_arrows, "dmt.data.pool", "from dmt.metrics import confusion"),
    (wrong_arrows, "dmt.data.pool", "from dmt import engine"),
    (wrong_arrows, "dmt.data.pool", "from ..engine import fit"),
    (wrong_arrows, "dmt.data.layouts.", "from ...engine import fit"),
    (wrong_arrows, "dmt.data.pool", "import importlib\nimportlib.import_module('dmt.engine.fit')"),
    (wrong_arrows, "dmt.models.build", "from dmt.data.pool import Pool"),
    (wrong_arrows, "dmt.metrics.scores", "from dmt.data.pool import Pool"),
    (wrong_arrows, "dmt.engine.fit", "from dmt.config import Settings"),
    (wrong_arrows, "dmt.engine.fit", "from dmt.tasks import classification"),
    (wrong_arrows, "dmt.engine.fit", "from dmt.insight.report import write_report"),
    (wrong_arrows, "dmt.engine.fit", "if TYPE_CHECKING:\n    from dmt.methods.dmt import DMT"),
    (wrong_arrows, "dmt.methods.dmt", "from dmt.tasks import classification"),
    (wrong_arrows, "dmt.tasks.classification", "from dmt.methods import dmt"),
    (wrong_arrows, "dmt.tasks.classification", "from dmt.tasks.segmentation import x"),
    (wrong_arrows, "dmt.tasks.segmentation.crops", "from dmt.tasks import classification"),
    (wrong_arrows, "dmt.tasks.classification", "from dmt.config import Settings"),
    (wrong_arrows, "dmt.insight.report", "from dmt.metrics import confusion"),
    (wrong_arrows, "dmt.insight.report", "from dmt.config import Settings"),
    (wrong_arrows, "dmt.api", "from dmt.cli import main"),
    (wrong_arrows, "dmt.api", "from dmt.commands.doctor import diagnose"),
    (wrong_arrows, "dmt.engine.runtime", "from dmt.commands.doctor import diagnose"),
    (wrong_arrows, "dmt.commands.doctor", "from dmt.engine.fit import fit"),
    (wrong_arrows, "dmt.config", "from dmt.engine.plan import plan"),
    (wrong_arrows, "dmt.data.pool", "from dmt import train"),
    (wrong_arrows, "dmt.api", "from dmt.comparisons.comparing import compare"),
    (wrong_arrows, "dmt.runs.session", "from dmt.api import train"),
    (wrong_arrows, "dmt.runs.session", "from dmt.reviews.auditing import audit"),
    (wrong_arrows, "dmt.inference.using", "from dmt.runs.session import Session"),
    (wrong_arrows, "dmt.track.tracking", "from dmt.runs.session import Session"),
    (wrong_arrows, "dmt.commands.board", "from dmt.commands.live import open_view"),
    (wrong_arrows, "dmt.records.writing", "from dmt.data.pool import Pool"),
    (wrong_arrows, "dmt.records.events", "from dmt.errors import RunError"),
    (wrong_arrows, "dmt.newroom.thing", ""),
    (foreign_packages, "dmt.core.loss", "import numpy as np"),
    (foreign_packages, "dmt.core.loss", "def f():\n    from scipy import stats"),
    (foreign_packages, "dmt.insight.report", "import torch"),
    (foreign_packages, "dmt.insight.report", "from numpy import array"),
    (foreign_packages, "dmt.records", "import torch"),
    (foreign_packages, "dmt.records.examples", "import torch"),
    (foreign_packages, "dmt.records.writing", "import pydantic"),
    (eager_imports, "dmt.models.build", "import timm"),
    (eager_imports, "dmt.models.build", "class A:\n    from torchvision import models"),
    (eager_imports, "dmt.models.build", "try:\n    import torchvision.ops\nexcept E:\n    pass"),
    (opened_labels, "dmt.engine.fit", "from dmt.data.hidden import reveal"),
    (opened_labels, "dmt.engine.fit", "from dmt.data.hidden import reveal as look"),
    (opened_labels, "dmt.engine.fit", "from dmt.data.hidden import *"),
    (opened_labels, "dmt.tasks.classification", "from dmt.data import hidden\nhidden.reveal(x)"),
    (opened_labels, "dmt.data.splits", "from .hidden import reveal"),
    (opened_labels, "dmt.metricsish", "from dmt.data.hidden import reveal"),
    (unsafe_loading, "dmt.engine.checkpoint", "import pickle"),
    (unsafe_loading, "dmt.data.layouts.folders", "from pickle import loads"),
    (unsafe_loading, "dmt.engine.checkpoint", "import torch\ntorch.load(path)"),
    (unsafe_loading, "dmt.engine.checkpoint", "import torch as t\nt.load(p, weights_only=False)"),
    (unsafe_loading, "dmt.engine.checkpoint", "from torch import load\nload(path)"),
    (unsafe_loading, "dmt.config", "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)"),
    (unsafe_loading, "dmt.config", "from yaml import unsafe_load as read\nread(text)"),
    (unsafe_loading, "dmt.data.pool", "import numpy as np\nnp.load(p, allow_pickle=True)"),
    (unsafe_loading, "dmt.data.pool", "import numpy as np\nnp.load(p)"),
    (unsafe_loading, "dmt.commands.doctor", "import subprocess"),
    (unsafe_loading, "dmt.commands.doctor", "import os\nos.system('ls')"),
    (unsafe_loading, "dmt.commands.doctor", "from os import popen as p\np('ls')"),
    (unsafe_loading, "dmt.config", "eval(text)"),
    (unsafe_loading, "dmt.config", "import importlib\nimportlib.import_module(text)"),
    (unsafe_loading, "dmt.data.pool", "from PIL import Image\nImage.open(path)"),
    (unsafe_loading, "dmt.models.weights", "import joblib"),
    (bad_shape, "dmt.api", "x = 1\n"),
    (bad_shape, "dmt.api", '"""Long."""\n' + "x = 1\n" * 400),
]


@pytest.mark.parametrize(("rule", "module", "source"), BAD)
def test_the_rule_can_fail(rule: Rule, module: str, source: str) -> None:
    assert len(rule(module, source)) == 1


GOOD: list[tuple[Rule, str, str]] = [
    (wrong_arrows, "dmt.core.loss", "import torch\nfrom dmt.core.random import bits"),
    (wrong_arrows, "dmt.data.layouts.folders", "from . import table\nfrom ..decode import decode"),
    (wrong_arrows, "dmt.data.layouts.", "from . import folders"),
    (wrong_arrows, "dmt.metrics.scores", "from dmt.data.hidden import HiddenLabels, reveal"),
    (wrong_arrows, "dmt.engine.plan", "from dmt.config import Settings"),
    (wrong_arrows, "dmt.methods.dmt", "from dmt.engine.step import Method\nimport dmt.core.loss"),
    (wrong_arrows, "dmt.tasks.classification", "from dmt.tasks.shared import x"),
    (wrong_arrows, "dmt.cli", "from dmt import api, config, errors\nimport dmt.commands.doctor"),
    (wrong_arrows, "dmt.commands.doctor", "import dmt.records\nimport dmt.engine.runtime"),
    (wrong_arrows, "dmt.", "def __getattr__(name):\n    from dmt import api"),
    (eager_imports, "dmt.models.build", "def f():\n    import timm"),
    (opened_labels, "dmt.engine.oracle", "from dmt.data.hidden import reveal"),
    (opened_labels, "dmt.engine.fit", "from dmt.data.hidden import HiddenLabels"),
    (unsafe_loading, "dmt.data.layouts.cifar10", "import pickle"),
    (unsafe_loading, "dmt.engine.checkpoint", "import torch\ntorch.load(p, weights_only=True)"),
    (unsafe_loading, "dmt.data.pool", "import numpy as np\nnp.load(p, allow_pickle=False)"),
    (unsafe_loading, "dmt.models.factories", "import importlib\nimportlib.import_module(text)"),
    (unsafe_loading, "dmt.config", "import re\nre.compile(text)"),
    (unsafe_loading, "dmt.config", "import yaml, json\nyaml.safe_load(t), json.load(f)"),
    (bad_shape, "dmt.core.", ""),
]


@pytest.mark.parametrize(("rule", "module", "source"), GOOD)
def test_the_rule_lets_right_code_pass(rule: Rule, module: str, source: str) -> None:
    assert rule(module, source) == []


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\nfrom .c import d as e\ndef f():\n    if x:\n        import g\n"
    found = [(each.target, each.deferred) for each in imports("dmt.data.pool", source)]
    assert found == [("a.b", False), ("dmt.data.c.d", False), ("g", True)]


# What a person waits for when typing `dmt --help`, or opens on a machine without torch.
@pytest.mark.parametrize(
    "module",
    ["dmt", "dmt.errors", "dmt.records", "dmt.commands.doctor", "dmt.insight.report", "dmt.cli"],
)
def test_importing_does_not_load_torch(module: str) -> None:
    heavy = "('torch', 'torchvision', 'timm', 'sklearn', 'pyarrow', 'scipy')"
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
