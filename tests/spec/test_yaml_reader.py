"""Sweep files as YAML: numbers as a person reads them, the line of each value, and what is no sweep file at all."""

import math
import os

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import sweep_file
from orchestrator.spec.yaml_reader import read
from tests.support.naming import unnamed

HEAD = "name: x\nbase: {dataset: mnist_svhn_text, model: mopoe, networks: small}\n"


def written(tmp_path, content):
    """A sweep file with that text, or those bytes."""
    path = tmp_path / "s.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def mistakes(path):
    """The lines that a file is refused with, without the file's name."""
    with pytest.raises(SpecError) as caught:
        sweep_file.load(path)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


READ = {
    "016": 16, "010": 10, "-007": -7, "+5": 5, "1_000": 1000, "1e3": 1000.0, "1E-1": 0.1, "1.e+0": 1.0, ".5": 0.5, "1.": 1.0,
    "0o17": "0o17", "0x1F": "0x1F", "0b11": "0b11", "1:30": "1:30", "1:30.5": "1:30.5", "2001-01-01": "2001-01-01", "1__0": "1__0",
    "yes": "yes", "no": "no", "on": "on", "off": "off", "y": "y", "n": "n", "true": True, "False": False, "~": None, "null": None,
    ".inf": math.inf, "-.inf": -math.inf, "'016'": "016", '"1e3"': "1e3", "=": "=",
}  # fmt: skip


@pytest.mark.parametrize("text", READ)
def test_a_plain_value_is_what_a_person_reads(text, tmp_path):
    """Decimal numbers are numbers, true and false are truth values, and everything else is a text."""
    found = read(written(tmp_path, f"a: {text}\nb: [{text}]\n")).value
    assert found == {"a": READ[text], "b": [READ[text]]}
    assert type(found["a"]) is type(READ[text])


@pytest.mark.parametrize(
    ("field", "text", "expected"), [("latent_dim", "016", 16), ("epochs", "010", 10), ("epochs", "1e2", 100)]
)
def test_a_field_has_the_number_that_the_file_shows(field, text, expected, tmp_path):
    """A leading zero does not make it octal, in base, grid, exclude and a search's space."""
    base = "{dataset: mnist_svhn_text, model: mopoe, networks: small"
    in_base, in_grid = f"name: x\nbase: {base}, {field}: {text}}}\n", f"name: x\nbase: {base}}}\ngrid: {{{field}: [{text}, 5]}}\n"
    (cell,) = sweep_file.load(written(tmp_path, in_base)).cells
    assert getattr(cell.config, field) == expected
    (left,) = sweep_file.load(written(tmp_path, f"{in_grid}exclude: [{{{field}: {text}}}]\n")).cells
    assert getattr(left.config, field) == 5
    searched = f"name: x\nbase: {base}}}\nsearch: {{space: {{{field}: [{text}, 5]}}, cells: 2}}\n"
    spec = sweep_file.load(written(tmp_path, searched))
    assert spec.search.space[field].choices == [expected, 5]


def test_seeds_with_leading_zeros_are_decimal(tmp_path):
    """`[010]` is seed 10, and `010` are ten seeds."""
    assert sweep_file.load(written(tmp_path, f"{HEAD}seeds: [010, 8]\n")).seed_list == [8, 10]
    assert sweep_file.load(written(tmp_path, f"{HEAD}seeds: 010\n")).seed_list == list(range(10))


@pytest.mark.parametrize(
    "text", ["1:30", "0x1F", "0o17", "0b11", "2001-01-01", "yes", "10**4", "1,000", "0-4", "1e400", "1e-400", ".nan"]
)
@pytest.mark.parametrize("field", ["epochs", "beta"])
def test_what_looks_like_a_number_and_is_none_is_refused(field, text, tmp_path):
    """With its field and its line, in base and in a list that goes over several lines."""
    base = "name: x\nbase:\n  dataset: mnist_svhn_text\n  model: mopoe\n"
    value = f"'{text}'" if "," in text else text
    (line,) = mistakes(written(tmp_path, f"{base}  {field}: {value}\n"))
    assert line.startswith(f"5: base.{field}: ")
    (line,) = mistakes(written(tmp_path, f"{base}grid:\n  {field}: [3,\n    4,\n    {value},\n    5]\n"))
    assert line.startswith((f"8: grid.{field}: ", f"8: grid.{field}[2]: "))


def test_an_integer_of_hundreds_of_digits_is_refused_and_does_not_fill_the_screen(tmp_path):
    """Quoted or not, in fields with and without a limit."""
    for number in (10**399, 10**400, f'"{10**400}"'):
        for field in ("train_examples", "epochs", "batch_size", "beta"):
            content = f"name: x\nbase:\n  dataset: mnist_svhn_text\n  model: mopoe\n  {field}: {number}\n"
            (line,) = mistakes(written(tmp_path, content))
            assert line.startswith(f"5: base.{field}: ")
            assert len(line) < 250
    (line,) = mistakes(written(tmp_path, f"{HEAD}seeds: {10**399}\n"))
    assert line.startswith("3: seeds: ")
    assert len(line) < 250


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_with_a_byte_order_mark_is_read_as_it_says(coding, tmp_path):
    """UTF-8 with or without one, and UTF-16 with one; without one, UTF-16 is refused with advice."""
    mark = {"utf-16-le": b"", "utf-16-be": b"\xfe\xff"}.get(coding, b"")
    path = written(tmp_path, mark + f"{HEAD}storage: Läufe\n".encode(coding))
    if coding == "utf-16-le":
        (line,) = mistakes(path)
        assert "UTF-8" in line
    else:
        spec = sweep_file.load(path)
        assert (spec.storage, spec.source) == ("Läufe", f"{HEAD}storage: Läufe\n")


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    """Latin-1 on the second line."""
    (line,) = mistakes(written(tmp_path, b"name: x\nstorage: L\xe4ufe\n"))
    assert line.startswith("2: ")
    assert "UTF-8" in line


WHOLE = {
    "": ["empty"],
    "# nothing\n": ["empty"],
    "- a\n": ["list"],
    "just text\n": ["'just text'"],
    f"{HEAD}---\n{HEAD}": ["documents"],
    f"{HEAD}resources:\n\tcpu: 1\n": ["spaces"],
    "a: &a [*a]\n": ["alias"],
    "? [1, 2]\n: 3\n": ["key", "list", "mapping"],
    f"{HEAD}storage: !!binary aGk=\n": ["tag:yaml.org,2002:binary"],
    f"{HEAD}seeds: !!int 0x1F\n": ["'0x1F'", "int"],
}


@pytest.mark.parametrize("content", WHOLE)
def test_what_is_no_sweep_is_refused_with_a_line(content, tmp_path):
    """Empty files, lists, several documents, tabs, recursive aliases, keys that are no texts, and tags."""
    found = mistakes(written(tmp_path, content))
    assert any(not unnamed(line, *WHOLE[content]) for line in found), found
    assert all(line.partition(":")[0].isdigit() for line in found)


def test_nested_aliases_are_counted_wherever_they_stand(tmp_path):
    """Nine lines that mean a billion values are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SpecError) as caught:
        read(written(tmp_path, "\n".join(lines)))
    assert not unnamed(caught.value, 100000)


def test_a_value_behind_an_alias_has_the_line_where_it_is_written(tmp_path):
    """Not that of the alias; the field itself has its own."""
    content = f"{HEAD}grid:\n  beta: &b\n    - 1\n    - -3\ninclude:\n  - beta: 7\n    reconstruction_weights: *b\n"
    assert [line.partition(": ")[0] for line in mistakes(written(tmp_path, content))][0] == "6"


def test_no_pipe_folder_or_device_is_read(tmp_path):
    """A FIFO that nobody writes to is refused at once, as are folders and devices; nothing is waited for."""
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path, "folder"), ("/dev/zero", "device")):
        with pytest.raises(SpecError) as caught:
            read(tmp_path / path)
        assert not unnamed(caught.value, f"{path}: ", kind)


def test_what_the_shell_has_opened_is_read(tmp_path):
    """`<(...)` is a pipe under /dev/fd, and its text is kept with the sweep although it can be read once only."""
    reading, writing = os.pipe()
    os.write(writing, HEAD.encode())
    os.close(writing)
    spec = sweep_file.load(type(tmp_path)(f"/dev/fd/{reading}"))
    os.close(reading)
    assert spec.source == HEAD


def test_a_file_of_megabytes_is_no_sweep(tmp_path):
    """It is refused before it is parsed."""
    with pytest.raises(SpecError) as caught:
        read(written(tmp_path, b"#" * 8_000_001))
    assert not unnamed(caught.value, 8_000_000)
