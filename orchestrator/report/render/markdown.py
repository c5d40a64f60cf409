"""Writes Markdown tables. Pure."""

from collections.abc import Sequence

ESCAPES = {ord(character): f"\\{character}" for character in "\\|<`"}
"""Characters that could end a cell, or begin HTML or code. A backslash is one, too: before a pipe it would undo the pipe's escape."""


def escape(text: str) -> str:
    """Returns text for a Markdown table. The bracket of `](` is escaped, so that [text] is no link or picture."""
    return text.translate(ESCAPES).replace("](", r"]\(")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], full_rule: bool = False) -> str:
    """Returns a table with padded columns. Texts are Markdown already.

    The rule below the header has three dashes for each column, or with `full_rule` as many as the column is wide.
    """
    widths = [max(3, *(len(row[place]) for row in (header, *rows))) for place in range(len(header))]
    rule = ["-" * (width if full_rule else 3) for width in widths]
    return "\n".join(_line(row, widths) for row in (header, rule, *rows))


def bold(text: str, is_bold: bool = True) -> str:
    """Returns the text in bold, or unchanged."""
    return f"**{text}**" if is_bold else text


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) + " |"
