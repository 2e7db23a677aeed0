"""A comparison as Markdown: `compare.md`, and a section of docs/results.md. Computes no figure."""

from __future__ import annotations

from dmt.escapes import visible
from dmt.records.comparison import ComparisonRecord, sentence, table


def markdown(record: ComparisonRecord) -> str:
    """The whole file."""
    assert record.result is not None
    title = f"# {_inline(record.result.dataset)}: {len(record.asked.methods)} methods compared"
    return "\n\n".join([title, body(record)]) + "\n"


def body(record: ComparisonRecord) -> str:
    """Command, table, sentences and notes, without a heading."""
    assert record.result is not None
    num, torch = len(record.asked.seeds), record.versions.get("torch", "?")
    seeds = f"{num} seed{'' if num == 1 else 's'}"
    parts = [
        f"{_code(record.command)}",
        f"{seeds}, torch {torch}, {_inline(record.hardware)}.",
        markdown_table(*table(record.result)),
        "\n".join(f"- {_inline(sentence(pair, record.result))}" for pair in record.result.pairs),
        *(_inline(note) for note in record.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(_inline(cell) for cell in line) + " |" for line in lines)


def _inline(text: str) -> str:
    """Text in which a name from outside is no markup."""
    shown = visible(text)
    for letter in "\\`*_<>[]|":
        shown = shown.replace(letter, "\\" + letter)
    return shown


def _code(text: str) -> str:
    return f"`{visible(text).replace('`', 'ˋ')}`"
