"""Writes LaTeX tables with booktabs. Pure."""

from collections.abc import Mapping, Sequence

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
CAPTION_SIGNS = {"β": r"$\beta$", "±": r"$\pm$", "−": "--", "→": r"$\to$", "|": "$|$", "τ": r"$\tau$"}
"""Signs of captions and headings that LaTeX's own encodings lack."""
CLAIM_SIGNS = {
    "−": "$-$", "±": r"$\pm$", "β": r"$\beta$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", ">": "$>$", "<": "$<$",
    "–": "--", "[": "{[}",
}  # fmt: skip
"""Signs of the tables of claims. A `[` at the start of a row would be read as an option."""


def escape(text: str, signs: Mapping[str, str] | None = None) -> str:
    """Returns plain text as LaTeX source. `signs` has the LaTeX of further characters."""
    replacements = ESCAPES | dict(signs or {})
    return "".join(replacements.get(character, character) for character in text)


def comment(text: str) -> str:
    """Returns the text as a comment of one line."""
    return f"% {' '.join(text.split())}"


def math(text: str, bold: bool = False) -> str:
    """Returns a formula, in bold if asked for."""
    return rf"$\mathbf{{{text}}}$" if bold else f"${text}$"


def row(texts: Sequence[str]) -> str:
    """Returns a row of a table. The texts are LaTeX already."""
    return " & ".join(texts) + r" \\"


def tabular(columns: str, heads: Sequence[Sequence[str]], blocks: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a `tabular`. `heads` has the texts of the header's rows. A rule comes before each block of finished rows."""
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *map(row, heads)]
    for block in blocks:
        lines += [r"\midrule", *block]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def floating_table(caption: str, label: str, table: Sequence[str], command: str) -> str:
    """Returns a `table` with a caption, which is LaTeX already. The table shrinks to the text's width; `command` becomes a comment."""
    before = [
        comment(command),
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
    ]
    return "\n".join([*before, *table[:-1], table[-1] + "}", r"\end{table}", ""])
