"""YAML from outside: plain values, nothing that grows, loops or runs. What they mean: elsewhere."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError

_DEEPEST = 50  # settings are three deep
_LONGEST = 200_000  # letters; every setting written out takes 5000
_OPENS = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSES = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


def read_yaml(text: str) -> Any:
    """The value in a YAML text.

    Raises:
        ValueError: it is no YAML, asks for an object, is nested without end, names a key twice, is
            longer than any settings, or refers to a value by `*name`: a few such lines can stand
            for more values than any memory holds.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST:,} letters: it holds something else")
    try:
        depth = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            # Looked at on the way: the time to read on grows with the square of the depth.
            depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
            if depth > _DEEPEST:
                line = token.start_mark.line + 1
                raise ValueError(f"line {line}: values are nested too deeply")
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise ValueError(f"line {line}: *{token.value} refers to another value: repeat it")
            if isinstance(token, yaml.TagToken):
                # The reader of plain types fails in ways of its own where a value is not of them.
                line = token.start_mark.line + 1
                raise ValueError(f"line {line}: a type is named (!{token.value[1]}): leave it out")
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("values are nested too deeply") from error


class _Loader(yaml.SafeLoader):
    """Of two equal keys YAML's own keeps the last, and says nothing; 1:30 it takes for 90 and 010
    for 8, as nobody who writes settings means it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See yaml."""
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, str) and name in seen:
                line = key.start_mark.line + 1
                raise ConstructorError(None, None, f"line {line}: {name!r} stands there twice")
            if isinstance(name, str):
                seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """A number as it is read aloud; what counts in sixties stays a text."""
        text = self.construct_scalar(node)
        if ":" in text:
            return text
        if re.fullmatch(r"[-+]?0[0-9]+", text):
            return int(text)
        is_whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)
