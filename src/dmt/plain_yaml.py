"""YAML from outside: plain values, nothing that grows, loops or runs. What they mean: elsewhere."""

from __future__ import annotations

from typing import Any

import yaml

_DEEPEST = 50  # settings are three deep
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
        ValueError: it is no YAML, asks for an object, is nested without end, or refers to a value
            by `*name`: a few such lines can stand for more values than any memory holds.
    """
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
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("values are nested too deeply") from error
