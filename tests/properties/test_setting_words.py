"""Settings: any words are resolved or refused in a sentence; what is resolved stays as it is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from many import hold, some_and_many, tried

from commands import call, is_harmless
from dmt.config import PERMISSIONS, describe, dump, resolve

_KEYS = [key for key, _, _ in describe()]
_NUMBERS = st.one_of(
    st.integers(-3, 300), st.integers(), st.floats(allow_nan=True), st.floats(0, 1)
)
_VALUES = st.one_of(
    _NUMBERS.map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.lists(_NUMBERS, max_size=3).map(str),
    st.lists(st.integers(16, 99), min_size=2, max_size=2).map(lambda two: f"{two[0]}x{two[1]}"),
    st.sampled_from([
        "", "null", "none", "auto", "cosine", "adamw", "global", "edge", "skip", "pair", "chain",
        "supervised", "30m", "1e999", "-0", ".nan", "0x1f", "1_000", "2001-02-30", "12:30:45",
        "[", "{a: b}", "&a [*a]", "!!binary x", "!!python/none", "*x", "<<: 1", "? x", "'", '"\\e"',
        "|\n x", "a: b: c", "%", "@", "`", "- - -", "---\n...", "\x1b[31m", "\u202e",
        "\ud800", "\0",
    ]),
    st.text(max_size=20),
)  # fmt: skip
_WORDS = st.lists(
    st.one_of(
        st.builds("{}={}".format, st.sampled_from(_KEYS), _VALUES),
        st.builds("{}={}".format, st.sampled_from(_KEYS), _VALUES),
        st.builds(
            "{}={}".format, st.sampled_from(["student", "data.x.y", "", ".", "sed"]), _VALUES
        ),
        st.text(max_size=30),
    ),
    max_size=4,
)


def _as_data(settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = settings.model_dump(mode="json")
    del found["recipe"]
    for key in PERMISSIONS:  # which no file can give
        *groups, last = key.split(".")
        place = found
        for group in groups:
            place = place[group]
        del place[last]
    return found


@some_and_many
def test_any_words(num_examples: int) -> None:
    """Settings, which their own dump gives again; or a short sentence."""

    def check(words: list[str]) -> None:
        found, sentence = tried(resolve, words, dataset="x", default_recipe="digits")
        if sentence is not None:
            assert 0 < len(sentence) < 700
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.yaml"
            path.write_bytes(dump(found).encode(errors="surrogatepass"))
            again = resolve({"recipe": str(path)}, dataset=None, default_recipe=None)
            assert _as_data(again) == _as_data(found)
            assert dump(again.model_copy(update={"recipe": found.recipe})) == dump(
                found.model_copy(update={"trust_code": False, "data": again.data})
            )

    hold(check, num_examples, words=_WORDS)


@some_and_many
def test_one_value_for_every_key(num_examples: int) -> None:
    """As above, one word at a time, so that more of them are resolved."""

    def check(key: str, value: str) -> None:
        found, sentence = tried(resolve, [f"{key}={value}"], dataset="x", default_recipe=None)
        if sentence is not None:
            assert 0 < len(sentence) < 700
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.yaml"
            path.write_bytes(dump(found).encode(errors="surrogatepass"))
            again = resolve({"recipe": str(path)}, dataset=None, default_recipe=None)
        assert _as_data(again) == _as_data(found)

    hold(check, 3 * num_examples, key=st.sampled_from(_KEYS), value=_VALUES)


@some_and_many
def test_any_recipe_file(num_examples: int) -> None:
    def check(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mine.yaml"
            path.write_bytes(content)
            words = {"recipe": str(path)}
            found, sentence = tried(resolve, words, dataset=None, default_recipe=None)
            assert found is not None or 0 < len(str(sentence)) < 700

    lines = st.lists(st.builds("{}: {}".format, st.sampled_from([*_KEYS, "a", "- b"]), _VALUES))
    texts = st.one_of(lines.map("\n".join), st.text(max_size=60))
    contents = st.one_of(st.binary(max_size=60), texts.map(lambda t: t.encode(errors="replace")))
    hold(check, num_examples, content=contents)


@some_and_many
def test_the_command_never_falls_over(num_examples: int) -> None:
    """Nothing but 0 or 2 comes back, and on stderr nothing but one harmless sentence."""

    def check(words: list[str]) -> None:
        # Words that begin with a dash are options, of which --help and others print pages.
        outcome = call("train", "digits", "--print-config", "--", *words)
        assert outcome.code in (0, 2), outcome.err
        if outcome.code == 2:
            assert outcome.out == ""
            assert outcome.err.startswith("dmt: ")
            assert outcome.err.count("\n") == 1
            assert is_harmless(outcome.sentence)

    hold(check, num_examples // 2, words=_WORDS)
