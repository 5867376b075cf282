"""YAML from strangers: mappings, lists and texts, and nothing else.

Anchors and aliases are refused (a few lines of them expand to billions), so are tags, deep nesting
and a key given twice. Every scalar is read as text: `yes`, `12` and `2024-01-01` stay what they
look like. Only `~`, `null` and an empty value mean nothing.
"""

from __future__ import annotations

from typing import Any

import yaml

from prism_core.errors import InputError

MAX_YAML_CHARACTERS = 400_000
MAX_DEPTH = 4
"""How deeply lists and mappings may be nested."""
MAX_NODES = 20_000
"""Keys, texts, lists and mappings together; reading that many takes about half a second."""


class _PlainLoader(yaml.SafeLoader):
    """Composes documents node by node and refuses what plain data does not need."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            what = "alias '*" if isinstance(event, yaml.AliasEvent) else "anchor '&"
            raise InputError(
                f"Line {line} uses the YAML {what}{event.anchor}', which is not allowed; "
                "a text that begins with * or & belongs in quotes."
            )
        if event.tag is not None:
            raise InputError(f"Line {line} uses the YAML tag '{event.tag}'; only plain text may.")
        if self.depth > MAX_DEPTH:
            raise InputError(f"Line {line} is nested more than {MAX_DEPTH} levels deep.")
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InputError(f"The YAML has more than {MAX_NODES:,} entries by line {line}.")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"Line {key.start_mark.line + 1} has a key that is not a text.")
            if key.value in seen:
                raise InputError(
                    f"Line {key.start_mark.line + 1} gives '{key.value[:40]}' a second time."
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# Of the implicit types only the empty value is kept.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def plain_documents(text: str) -> list[Any]:
    """Return the documents of a YAML text; empty ones are left out.

    Raises:
        InputError: not YAML, too long, or more than plain mappings, lists and texts.
    """
    if len(text) > MAX_YAML_CHARACTERS:
        raise InputError(
            f"The YAML has {len(text):,} characters; at most {MAX_YAML_CHARACTERS:,} are allowed."
        )
    try:
        # A subclass of SafeLoader: it builds no objects.
        documents = list(yaml.load_all(text, Loader=_PlainLoader))
    except yaml.YAMLError as error:
        raise InputError(f"This is not valid YAML: {_reason(error)}.") from error
    return [d for d in documents if d is not None]


def _reason(error: yaml.YAMLError) -> str:
    """The problem and its line, on one line."""
    if isinstance(error, yaml.MarkedYAMLError):
        said = error.problem or error.context or "unknown problem"
        mark = error.problem_mark or error.context_mark
        return f"{said} (line {mark.line + 1})" if mark else said
    if isinstance(error, yaml.reader.ReaderError):
        return f"it holds the character U+{error.character:04X}, which YAML does not allow"
    return str(error).splitlines()[0]
