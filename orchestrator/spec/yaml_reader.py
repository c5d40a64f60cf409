"""Reads a sweep file as YAML: its plain values, and the line of each. Values are texts, numbers, true, false, lists and mappings only.

Numbers are read as a person reads them. YAML 1.1, which PyYAML follows, takes `016` for 14, `1:30` for 90, `1e3` for a text and `no` for
false. Here a plain number is decimal, as in YAML 1.2: `016` is 16 and `1e3` is 1000. Other forms of numbers (`0x1F`, `0o17`, `1:30`) are
read as text, which no numeric field accepts. Only `true` and `false` are truth values.
"""

import codecs
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mopoe_core.storage.paths import expand
from orchestrator.errors import Location, Mistake, SpecError

MOST_VALUES = 100_000  # in a file
MOST_BYTES = 8_000_000
MOST_DIGITS = 400
MOST_SHOWN = 20  # mistakes of a file

_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+(?:_[0-9]+)*",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
"""By type, the unquoted texts that are read as this type. All others are read as text."""
_CONTAINERS = (f"{_TAG}map", f"{_TAG}seq")


class SweepLoader(yaml.SafeLoader):
    """Composes nodes and builds no Python objects. Unquoted texts have the types of `_PLAIN`."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}
    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Returns PyYAML's node. Raises SpecError if the file has more nodes than a sweep may have."""
        self.count += 1
        if self.count > 2 * MOST_VALUES:
            raise SpecError(_too_many())
        return super().compose_node(parent, index)


for _name, _pattern in _PLAIN.items():
    SweepLoader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), ["", *"~nN"] if _name == "null" else None
    )


@dataclass(frozen=True)
class Document:
    """A sweep file as it was read."""

    file: Path
    text: str
    value: Any
    lines: dict[Location, int]
    """The line of each value, from 1, by its place."""
    mistakes: tuple[Mistake, ...] = ()
    """The parts of the file that cannot be read, each with its line."""

    def pointed(self, mistakes: Iterator[Mistake] | tuple[Mistake, ...]) -> SpecError:
        """Returns an error with the file's own mistakes and these, each as `file:line: ...`, in the order of lines.

        A mistake inside a part that could not be read is left out, because it follows from that part's own mistake.
        """
        unread = [mistake.at for mistake in self.mistakes if mistake.at]
        independent = [mistake for mistake in mistakes if not any(mistake.at[: len(at)] == at for at in unread)]
        with_lines = [(self.line(mistake), mistake.text) for mistake in (*self.mistakes, *independent)]
        with_lines.sort(key=lambda pair: pair[0])
        messages = [f"{self.file}:{line}: {text}" for line, text in with_lines[:MOST_SHOWN]]
        if len(with_lines) > MOST_SHOWN:
            messages.append(f"{self.file}:{with_lines[MOST_SHOWN][0]}: and {len(with_lines) - MOST_SHOWN} more mistakes")
        return SpecError(*messages)

    def line(self, mistake: Mistake) -> int:
        """Returns the line of a mistake's place, or of the smallest part of the file around it."""
        at = mistake.at or self._place(mistake.text)
        while at and at not in self.lines:
            at = at[:-1]
        return mistake.line or self.lines.get(at, 1)

    def _place(self, text: str) -> Location:
        """Returns the longest place whose name a message begins with."""
        places = [at for at in self.lines if re.match(rf"{re.escape(dotted(at))}(?![\w-])", text)]
        return max(places, key=len, default=())


def dotted(place: Location) -> str:
    """Returns a place as messages name it: `search.space.beta.choices[1]`."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def values(value: Any, place: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Yields each value that is neither a list nor a mapping, with its place."""
    if isinstance(value, dict | list):
        for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from values(inner, (*place, part))
    else:
        yield place, value


def read(path: Path) -> Document:
    """Returns a file's value with the line of each part. Raises SpecError, with file and line, if the file cannot be read at all."""
    try:
        text = _text(path)
        node = _compose(text)
        reading = _Reading()
        value = None if node is None else reading.value(node, ())
    except RecursionError:
        raise SpecError(f"{path}: not a sweep: it is nested too deeply") from None
    except SpecError as error:
        where = f":{error.mistakes[0].line}" if error.mistakes[0].line else ""
        raise SpecError(f"{path}{where}: {error}") from None
    return Document(path, text, value, reading.lines, tuple(reading.mistakes))


def _text(path: Path) -> str:
    """Returns the file as text. Raises SpecError if it has more bytes than a sweep may have."""
    try:
        place = Path(expand(str(path)))
        _check_kind(place)
        with place.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise SpecError("there is no such file") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a variable that is not set, or a NUL in the name
        raise SpecError(f"names no file: {error}") from None
    if len(content) > MOST_BYTES:
        raise SpecError(f"has more than {MOST_BYTES} bytes; that is no sweep file")
    return _decoded(content)


def _check_kind(path: Path) -> None:
    """Raise SpecError if the path is no file. Reading a pipe could wait forever; the shell's (`/dev/stdin`, `<(...)`) are allowed."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and str(path).startswith(("/dev/stdin", "/dev/fd/"))):
        return
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    raise SpecError(f"is {kind}, not a file; name a sweep file")


def _decoded(content: bytes) -> str:
    marks = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
    coding = next((name for mark, name in marks if content.startswith(mark)), "utf-8")
    try:
        return content.decode(coding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(Mistake(f"cannot be read as text: it is not {coding.upper()}; save it as UTF-8", line=line)) from None


def _compose(text: str) -> Any:
    """Returns the tree of nodes; None if the file is empty."""
    try:
        return yaml.compose(text, Loader=SweepLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"column {mark.column + 1}: " if mark else ""
        raise SpecError(Mistake(f"{where}not valid YAML: {_problem(error)}", line=mark.line + 1 if mark else 0)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        advice = "remove it" if error.character else "save the file as UTF-8 text"
        raise SpecError(Mistake(f"not valid YAML: it has the character {chr(error.character)!a}; {advice}", line=line)) from None
    except (ValueError, yaml.YAMLError) as error:
        raise SpecError(f"not valid YAML: {error}".replace("\n", " ")) from None


def _problem(error: yaml.MarkedYAMLError) -> str:
    text = str(error.problem or error.context).replace("\n", " ")
    if "\\t" in text:
        return f"{text}; indent with spaces, not with tabs"
    if "another document" in text:
        return "it holds several documents; a sweep file holds one, so that each sweep needs a file of its own"
    return text


def _too_many() -> str:
    return f"holds more than {MOST_VALUES} values, those of an alias counted wherever it stands; write fewer"


@dataclass
class _Reading:
    """Reads the values of nodes, and collects their lines and mistakes."""

    lines: dict[Location, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    _inside: set[int] = field(default_factory=set)
    _count: int = 0

    def value(self, node: yaml.Node, place: Location) -> Any:
        """Returns the value of a node, and collects its lines and mistakes."""
        self._count += 1
        if self._count > MOST_VALUES:  # a few lines of nested aliases make gigabytes
            raise SpecError(_too_many())
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if node.tag not in _CONTAINERS:
            return self._wrong(node, place, f"the tag {node.tag} is not read; leave it out")
        if id(node) in self._inside:
            return self._wrong(node, place, "an alias stands within what it stands for; write the value out")
        self._inside.add(id(node))
        value = self._mapping(node, place) if isinstance(node, yaml.MappingNode) else self._list(node, place)
        self._inside.remove(id(node))
        return value

    def _list(self, node: yaml.Node, place: Location) -> list[Any]:
        return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, place: Location) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            problem = _key_problem(key_node, mapping, self.lines, place)
            if problem:
                self.mistakes.append(Mistake(problem, line=line))
                continue
            at = (*place, key_node.value)
            self.lines[at] = line
            mapping[key_node.value] = self.value(value_node, at)
        return mapping

    def _scalar(self, node: yaml.ScalarNode, place: Location) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return node.value
        if kind not in _PLAIN:
            return self._wrong(node, place, f"the tag {node.tag} is not read; leave it out")
        if not re.fullmatch(_PLAIN[kind], node.value):
            return self._wrong(node, place, f"{node.value!r} is no {kind} as they are written here")
        return self._plain(kind, node, place)

    def _plain(self, kind: str, node: yaml.ScalarNode, place: Location) -> Any:
        text = node.value
        if kind in ("null", "bool"):
            return text.lower() == "true" if kind == "bool" else None
        if len(text) > MOST_DIGITS:
            return self._wrong(node, place, f"a number of {len(text)} characters is not read; write a shorter one")
        if kind == "int":
            return int(text)
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        is_lost = number in (0.0, float("inf"), -float("inf")) and re.search("[1-9]", re.split("[eE]", text)[0])
        if is_lost:
            return self._wrong(node, place, f"{text} is out of the range of numbers; write a number that can be kept")
        return number

    def _wrong(self, node: yaml.Node, place: Location, problem: str) -> None:
        shown = f"{dotted(place)}: {problem}" if place else problem
        self.mistakes.append(Mistake(shown, place, node.start_mark.line + 1))


def _key_problem(node: yaml.Node, earlier: dict[str, Any], lines: dict[Location, int], place: Location) -> str:
    """Returns what is wrong with a key; empty if nothing is."""
    if not isinstance(node, yaml.ScalarNode) or not node.value.isprintable():
        shown = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        return f"the key {shown} is not plain text; put it in quotes, on one line"
    if node.value == "<<" and not node.style:
        return "merge keys (<<) are not read; write the fields out, or use `base`"
    if node.value in earlier:
        return f"the key {node.value!r} appears twice (first on line {lines[(*place, node.value)]}); remove one of them"
    return ""
