"""Real parsers for generated Kotlin and Swift: what does not parse, and what string literals mean, decoded by other code than wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

LANGUAGES = {".kt": tree_sitter_kotlin, ".kts": tree_sitter_kotlin, ".swift": tree_sitter_swift}
#: Names of nodes: a string literal, what is computed within one.
STRINGS = {"string_literal", "line_string_literal"}
COMPUTED = {"interpolation", "interpolated_expression"}


def parse(text: str, suffix: str) -> tree_sitter.Node:
    language = tree_sitter.Language(LANGUAGES[suffix].language())
    return tree_sitter.Parser(language).parse(text.encode()).root_node


def nodes(root: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield root
    for child in root.children:
        yield from nodes(child)


def mistakes(text: str, suffix: str) -> list[str]:
    """Where the grammar finds an error, or misses something."""
    source = text.encode()
    return [
        f"line {node.start_point[0] + 1}: {node.type} {source[node.start_byte : node.end_byte][:80].decode(errors='replace')!r}"
        for node in nodes(parse(text, suffix))
        if node.is_error or node.is_missing
    ]


def literals(text: str, suffix: str) -> list[str]:
    """What the string literals of ``text`` say, in order; those with something computed in them are left out."""
    source = text.encode()
    return [
        _decoded(source[node.start_byte + 1 : node.end_byte - 1].decode())
        for node in nodes(parse(text, suffix))
        if node.type in STRINGS and not any(child.type in COMPUTED for child in nodes(node))
    ]


def computed(text: str, suffix: str) -> list[str]:
    """The expressions within string literals."""
    source = text.encode()
    return [source[node.start_byte : node.end_byte].decode() for node in nodes(parse(text, suffix)) if node.type in COMPUTED]


def _decoded(inside: str) -> str:
    """By the escapes of the two languages' grammars: \\uXXXX (UTF-16), \\u{X…}, and a backslash before the character itself."""

    def one(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else found[3]

    decoded = re.sub(r"\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|(.))", one, inside, flags=re.DOTALL)
    return decoded.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
