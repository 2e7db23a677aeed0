"""What the architecture tests hold, as functions from source text to violations. No tests here."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

BELOW_TASKS = ("engine", "data", "models", "metrics", "core")
API = (
    "api", "using", "session", "sizing", "materials", "image_material", "scene_material",
    "machine", "checkup", "mask_checkup", "data_checkup", "predicting", "mask_predicting",
    "mask_evaluation", "stopping", "setting_checks", "portable", "comparing",
    "compare_words", "compare_record", "run_figures",
    "peers", "auditing", "reviewing", "review_pictures",
    "correcting", "mask_correcting", "exporting", "continuing", "run_examples", "together",
    "labeling", "label_parts", "tracking", "trackers",
    "half", "halves", "who_trains",
)  # one row of the house  # fmt: skip
COMMAND = (
    "cli",
    "board_command",
    "report_command",
    "review_command",
    "label_command",
    "live",
    "printing",
    "options",
    "exits",
    "doctor",
)
EVERYTHING = ("methods", "tasks", "insight", "annotations", "config", "recipes", *BELOW_TASKS)

# Room -> what it may import from dmt, besides FREE. A name stands for itself and all inside it.
ARROWS: dict[str, tuple[str, ...]] = {
    "": ("api", "comparing", "core"),
    "__main__": ("cli",),
    "cli": (*EVERYTHING, *API, *COMMAND),
    "board_command": ("insight", "printing", "options"),
    "report_command": ("insight", "printing", "options"),
    "review_command": ("reviewing", "correcting", "live", "printing", "options"),
    "label_command": ("labeling", "data.pools", "printing", "options"),
    "live": ("engine.stage",),
    "printing": (),
    "options": (),
    "exits": ("printing", "engine.meeting"),
    "doctor": ("engine.runtime",),
    **dict.fromkeys(API, (*EVERYTHING, *API)),
    "methods": ("methods", *BELOW_TASKS),
    "tasks": ("tasks", *BELOW_TASKS),
    "insight": ("insight",),
    "annotations": ("annotations", "data"),
    "engine": BELOW_TASKS,
    "engine.plan": (*BELOW_TASKS, "config"),
    "data": ("data", "core"),
    "models": ("models", "core"),
    "metrics": ("metrics", "core", "data.hidden"),
    "core": ("core",),
    "config": ("settings",),
    "settings": (),
    "recipes": (),
    "records": (),
    "comparison": (),
    "plain_yaml": (),
    "events": (),
    "escapes": (),
    "errors": (),
    "faults": (),
    "writing": (),
    "links": (),
    "data_record": (),
    "example_record": (),
}
FREE = (
    "errors", "records", "data_record", "example_record", "comparison", "events", "writing",
    "faults", "escapes", "links", "plain_yaml", "__version__",
)  # fmt: skip
NOT_FREE_FOR = ("core", "errors", "events", "faults", "escapes", "plain_yaml")

# Rooms that may use these packages and the standard library, nothing else.
PACKAGES: dict[str, tuple[str, ...]] = {
    "core": ("torch",),
    "insight": ("jinja2", "yaml"),
    "errors": (),
    "records": ("pydantic",),
    "comparison": (),
    "writing": (),
    "faults": (),
    "plain_yaml": ("yaml",),
    "events": (),
    "escapes": (),
    "links": (),
    "data_record": ("pydantic",),
    "example_record": ("pydantic",),
}
LAZY = ("torchvision", "timm", "segmentation_models_pytorch")
PICKLES = ("pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
MAY_UNPICKLE = ("dmt.data.layouts.cifar10",)
# What runs a program or a text; `importlib.import_module` of a name that is no constant too.
STARTERS = ("subprocess", "multiprocessing", "runpy", "code", "pty", "ctypes")
# The second half of a round is our own module in our own interpreter; the C library is told how to
# keep memory and whom to outlive.
MAY_START = {"dmt.halves": "subprocess", "dmt.machine": "ctypes"}
RUNNERS = ("eval", "exec", "compile", "__import__", "os.system", "os.popen")
MAY_IMPORT_BY_NAME = ("dmt.models.factories", "dmt.doctor")
MAY_REVEAL = ("dmt.metrics", "dmt.data.hidden", "dmt.engine.oracle")
REVEALING = ("reveal", "reveal_masks")
MAX_LINES = 400


@dataclass(frozen=True)
class Import:
    """One imported name as a dotted path; `deferred` in a function or for type checking only."""

    target: str
    line: int
    deferred: bool


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the package as (dotted name, source), in order; packages end in `.`."""
    for path in sorted((SOURCE / "dmt").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1]) + "." if parts[-1] == "__init__" else ".".join(parts)
        yield name, path.read_text(encoding="utf-8")


def imports(module: str, source: str) -> list[Import]:
    """Every import of a module, absolute; `from x import y` gives `x.y`, whatever y is."""
    found: list[Import] = []

    def visit(node: ast.AST, deferred: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, deferred) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(module, node)
            found.extend(
                Import(f"{origin}.{alias.name}", node.lineno, deferred) for alias in node.names
            )
        elif isinstance(node, ast.Call) and _ends_in(node.func, "import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.append(Import(first.value, node.lineno, deferred))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_typing = isinstance(node, ast.If) and _ends_in(node.test, "TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            visit(child, deferred or is_function or is_typing)

    visit(ast.parse(source), False)
    return found


def wrong_arrows(module: str, source: str) -> list[str]:
    """Imports of dmt from a room that may not know them, and the two tasks knowing each other."""
    inside = module.removeprefix("dmt").strip(".")
    room = _room(inside)
    may = ARROWS.get(inside, ARROWS.get(room))
    if may is None:
        return [f"{module} is in no room: give it one in tests/architecture/import_rules.py"]
    free = () if room in NOT_FREE_FOR else FREE
    violations = []
    for found in imports(module, source):
        if not _within(found.target, "dmt"):
            continue
        target = found.target.removeprefix("dmt").strip(".")
        other = {"tasks.classification": "tasks.segmentation"}
        other |= {value: key for key, value in other.items()}
        crosses = any(_within(inside, a) and _within(target, b) for a, b in other.items())
        if crosses or not any(_within(target, allowed) for allowed in (*may, *free)):
            violations.append(f"{module}:{found.line} must not import {found.target}")
    return violations


def foreign_packages(module: str, source: str) -> list[str]:
    """Imports from outside dmt and the standard library in rooms that are kept lean."""
    room = _room(module.removeprefix("dmt").strip("."))
    if room not in PACKAGES:
        return []
    may = {"dmt", *PACKAGES[room], *sys.stdlib_module_names}
    return [
        f"{module}:{found.line} must not import {found.target}"
        for found in imports(module, source)
        if found.target.split(".")[0] not in may
    ]


def eager_imports(module: str, source: str) -> list[str]:
    """Heavy packages imported outside the function that uses them."""
    return [
        f"{module}:{found.line} imports {found.target} outside a function"
        for found in imports(module, source)
        if found.target.split(".")[0] in LAZY and not found.deferred
    ]


def opened_labels(module: str, source: str) -> list[str]:
    """Uses of `reveal` and `reveal_masks` where hidden labels must stay hidden."""
    if any(_within(module.strip("."), allowed) for allowed in MAY_REVEAL):
        return []
    named = tuple(f"dmt.data.hidden.{name}" for name in (*REVEALING, "*"))
    lines = [found.line for found in imports(module, source) if found.target in named]
    lines += [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in REVEALING
    ]
    return [f"{module}:{line} must not reveal hidden labels" for line in lines]


def unsafe_loading(module: str, source: str) -> list[str]:
    """Whatever runs code while it reads a file: pickle in all its forms, yaml's full loaders."""
    found = imports(module, source)
    violations = [
        f"{module}:{each.line} must not import {each.target}"
        for each in found
        if each.target.split(".")[0] in STARTERS
        and each.target.split(".")[0] != MAY_START.get(module)
    ]
    if module not in MAY_UNPICKLE:
        violations += [
            f"{module}:{each.line} must not import {each.target}"
            for each in found
            if each.target.split(".")[0] in PICKLES
        ]
    aliases = _aliases(source)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = _dotted(node.func, aliases)
        keywords = {each.arg: each.value for each in node.keywords}
        safe = {name for name, value in keywords.items() if _is_true(value)}
        if called == "torch.load" and "weights_only" not in safe:
            violations.append(f"{module}:{node.lineno} torch.load needs weights_only=True")
        if called.startswith("yaml.") and "load" in called and not called.startswith("yaml.safe_"):
            violations.append(f"{module}:{node.lineno} use yaml.safe_load")
        if called == "numpy.load" and not _is_false(keywords.get("allow_pickle")):
            violations.append(f"{module}:{node.lineno} numpy.load needs allow_pickle=False")
        if called in RUNNERS or called.startswith(("os.exec", "os.spawn")):
            violations.append(f"{module}:{node.lineno} must not call {called}")
        if called == "PIL.Image.open" and "formats" not in keywords:
            violations.append(f"{module}:{node.lineno} Image.open needs formats=")
        if called == "importlib.import_module" and module not in MAY_IMPORT_BY_NAME:
            name = node.args[0] if node.args else None
            if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                violations.append(f"{module}:{node.lineno} must import by a constant name")
    return violations


def bad_shape(module: str, source: str) -> list[str]:
    """Files that are too long or do not say what lives in them. An empty `__init__` says enough."""
    violations = []
    num_lines = len(source.splitlines())
    if num_lines > MAX_LINES:
        violations.append(f"{module} has {num_lines} lines, more than {MAX_LINES}")
    if source.strip() and not ast.get_docstring(ast.parse(source)):
        violations.append(f"{module} does not begin with a docstring")
    return violations


def _origin(module: str, node: ast.ImportFrom) -> str:
    """The absolute package that a `from` names; one dot is the package the module lies in."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")  # a package's name ends in ".", so its last part is empty
    base = parts[: len(parts) - node.level]
    return ".".join([*base, node.module] if node.module else base)


def _room(inside: str) -> str:
    return inside.split(".")[0]


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _ends_in(node: ast.expr, *names: str) -> bool:
    return (isinstance(node, ast.Name) and node.id in names) or (
        isinstance(node, ast.Attribute) and node.attr in names
    )


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _aliases(source: str) -> dict[str, str]:
    """Local name -> what it stands for, by the imports anywhere in the file."""
    known: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return known


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""
