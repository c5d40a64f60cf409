"""What README and docs tell the user to type is what the program takes, and every sweep they show is one that it accepts."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.spec.sweep_file import load, parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
COMMANDS = get_command(app.app).commands
SPAN = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
COMMAND = re.compile(rf"(?:python -m orchestrator|mopoe(?= (?:{'|'.join(COMMANDS)})\b))[^\n`#|>']*")
PLACEHOLDER = re.compile(r"^(FILE|DATASET|ID|N|P)$")


def blocks(text):
    """Code blocks, fenced or indented by four spaces, each without its indentation."""
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    bare = re.sub(r"^```[a-z]*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^    .*\n|^\n(?=    ))+", bare, re.MULTILINE)
    return fenced + [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in indented]


def sweeps(page):
    """Blocks that are sweep files."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if re.search(r"^name:", block, re.MULTILINE) and re.search(r"^(base|search):", block, re.MULTILINE):
            yield block


def commands(page):
    """Every command of ours that a page shows, as words without the program."""
    without_wrapped = SPAN.sub(
        lambda span: "" if "\n" in span[0] and span[0][:3] != "```" else span[0], page.read_text(encoding="utf-8")
    )
    for line in COMMAND.findall(without_wrapped):
        yield shlex.split(line.removeprefix("python -m orchestrator").removeprefix("mopoe").replace("...", "").rstrip(" .,;:)"))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_sweep_that_a_page_shows_is_accepted(page):
    """As it stands, with all its cells built."""
    for block in sweeps(page):
        parse(yaml.safe_load(block))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_a_page_shows_is_taken(page):
    """By the parser of the command line: the command and its options exist, and have their arguments. Sweep files that are named in
    `sweeps/` or `examples/` exist and are accepted.
    """
    for words in commands(page):
        if not words:
            continue  # the program by itself
        name, rest = words[0].split("|")[0].strip(), [word for word in words[1:] if word not in ("[", "]")]
        assert name in COMMANDS, f"{page}: {' '.join(words)}"
        command = COMMANDS[name]
        filled = ["1" if PLACEHOLDER.match(word) and word in ("N", "P") else word for word in rest]
        if not filled:
            continue  # the name of a command in a sentence
        command.make_context(name, filled)
        for word in filled:
            if word.startswith(("sweeps/", "examples/")) and word.endswith(".yaml"):
                load(ROOT / word)


def test_every_command_stands_on_the_page_of_commands():
    """So that nobody has to find one by chance."""
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"`{name}( [^`]*)?`", text), name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_between_pages_lead_somewhere(page):
    """Files that a page links to, or shows as a picture, are there."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page}: {target}"


NAMED_FILE = re.compile(r"(?<![\w/.-])((?:mopoe_core|orchestrator|tests|benchmarks|sweeps|examples|docs)/[\w./-]*\w/?)")
NAMED_MODULE = re.compile(r"(?<![\w/.])((?:mopoe_core|orchestrator|benchmarks)(?:\.\w+)+)")
NAMED_TEST = re.compile(r"(?<![\w/])(test_\w+\.py)")


def names_something(dotted):
    """Whether a dotted name is a module, a package, or a name in one of these, as far as files can tell."""
    parts = dotted.split(".")
    path = ROOT.joinpath(*parts)
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    home = ROOT.joinpath(*parts[:-1])
    files = [home / "__init__.py"] if home.is_dir() else [home.with_suffix(".py")]
    return any(file.exists() and re.search(rf"\b{parts[-1]}\b", file.read_text(encoding="utf-8")) for file in files)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_and_modules_that_a_page_names_are_there(page):
    """So that a renamed file is renamed in the docs too."""
    text = page.read_text(encoding="utf-8")
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    named = [name for name in NAMED_FILE.findall(text) if not name.endswith("NAME.py")]  # a placeholder
    missing = [name for name in named if not (ROOT / name).exists() and not list(ROOT.glob(f"{name}.*"))]
    missing += [name for name in NAMED_MODULE.findall(text) if not names_something(name)]
    missing += [name for name in NAMED_TEST.findall(text) if name not in there]
    assert not missing, page
