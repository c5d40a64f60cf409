"""What files, names and addresses cannot do: run code, leave their folder, break out of a page or a shell, be reached, tell a secret."""

import ast
import base64
import hashlib
import json
import os
import pickle
import random
import re
import shlex
import stat
import subprocess
import sys
import time
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.dataset_cache import read_built
from mopoe_core.data.own import checks, user_data
from mopoe_core.data.own.user_data import OwnDataset, OwnModality
from mopoe_core.errors import CheckpointError, ClassifierError, DataError, UserError
from mopoe_core.metric_names import metric_names, subset_name
from mopoe_core.metrics.classifiers import trained_classifiers
from mopoe_core.storage.uri_secrets import masked
from mopoe_core.training import checkpoint, training
from mopoe_core.training.trained_model import load_on
from orchestrator.cli.common import Typed
from orchestrator.cli.program import program, recorded_command, typed_command
from orchestrator.driver.sweep_lease import sweep_folder
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import report
from orchestrator.report.render import markdown
from orchestrator.spec.sweep_file import load, parse
from tests.support.builders import result
from tests.support.commands import typed_here
from tests.support.listening import descendants, listeners
from tests.support.naming import unnamed

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
PYTHON = sys.executable
SOUND = {"name": "s", "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"}, "storage": "storage"}
EXAMPLE = "examples/tabular.py:tumours"


def refused(folder, *words):
    """The one line with which a command is refused."""
    done = typed_here(*words, folder=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip("\n").isprintable()
    return done.stderr


def content(folder):
    """Every path below a folder, with a file's bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*") if path.name != "__pycache__"}


class Payload:
    """What makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def plain_pickle(path, payload):
    """A pickle without torch's archive around it."""
    path.write_bytes(pickle.dumps({"format": checkpoint.FORMAT, "state": payload}, protocol=2))


def torch_archive(path, payload):
    """What `torch.save` makes of it."""
    torch.save({"format": checkpoint.FORMAT, "state": payload}, path)


HOSTILE = pytest.mark.parametrize("write", [plain_pickle, torch_archive])


def dangerous(write, path, mark):
    """Write a file that makes the folder `mark` when it is trusted, and see that it would."""
    write(path, Payload(mark))
    with suppress(RuntimeError):  # at a pickle without torch's archive it complains, after it has executed it
        torch.load(path, weights_only=False)
    mark.rmdir()
    return path.read_bytes()


@pytest.fixture(scope="module")
def tumours():
    """The example dataset, which loads at once."""
    return loading.load(tumour_config().data_key, Path("data"))


def tumour_config(**changes):
    """A short training on it."""
    fields = {"dataset": EXAMPLE, "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 1}
    return TrainingConfig.model_validate(fields | changes)


# What files say is read, not executed.


@pytest.mark.parametrize(
    "tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "object/apply:pathlib.Path.mkdir", "name:os.mkdir"]
)
def test_a_tag_in_a_sweep_executes_nothing(tag, tmp_path):
    """A sweep file with one of PyYAML's Python tags is refused in one line that names the tag, and nothing happens."""
    (tmp_path / "s.yaml").write_text(f"name: s\nbase: {{model: !!python/{tag} [{tmp_path}/mark]}}\n")
    before = content(tmp_path)
    assert f"python/{tag}" in refused(tmp_path, "plan", "s.yaml")
    assert content(tmp_path) == before


def test_nested_aliases_are_refused_at_once(tmp_path):
    """Nine lines that would be a list of 10^9 values are an error in one line, and not a full memory."""
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    base = "name: s\nbase: {dataset: mnist_svhn_text, model: mopoe}\ngrid:\n  beta:\n"
    (tmp_path / "s.yaml").write_text(base + "".join(f"  {line}\n" for line in lines))
    with pytest.raises(UserError) as caught:
        load(tmp_path / "s.yaml")
    assert not unnamed(caught.value, tmp_path / "s.yaml", 100000)


@HOSTILE
def test_training_starts_over_where_its_checkpoint_is_a_payload(write, tumours, tmp_path):
    """A pickle that would run code is no checkpoint: the model is the one that is trained without it."""
    path, mark = tmp_path / "checkpoint.pt", tmp_path / "mark"
    dangerous(write, path, mark)
    again = training.train(tumour_config(), 0, tumours, CPU, path)
    fresh = training.train(tumour_config(), 0, tumours, CPU, tmp_path / "other.pt")
    assert not mark.exists()
    for one, other in zip(again.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(one, other)


@HOSTILE
def test_a_payload_is_not_loaded_as_a_model(write, tumours, tmp_path):
    """`load_on` raises, runs nothing, and leaves the file as it was."""
    path, mark = tmp_path / "checkpoint.pt", tmp_path / "mark"
    written = dangerous(write, path, mark)
    with pytest.raises(CheckpointError):
        load_on(path, tumours, CPU)
    assert not mark.exists()
    assert path.read_bytes() == written


@pytest.fixture(scope="module")
def judged(tumours, tmp_path_factory):
    """A folder with the example's classifiers."""
    folder = tmp_path_factory.mktemp("classifiers")
    trained_classifiers(tumours, folder, CPU)
    return folder


@HOSTILE
def test_a_payload_is_no_classifier(write, tumours, judged, tmp_path):
    """In place of a kept classifier it is an error that names the file; nothing runs, and the file is left as it was."""
    path, mark = next(judged.rglob("mean.pt")), tmp_path / "mark"
    sound = path.read_bytes()
    try:
        written = dangerous(write, path, mark)
        with pytest.raises(ClassifierError, match=rf"{re.escape(str(path))}: .*\bdelete\b"):
            trained_classifiers(tumours, judged, CPU)
        assert not mark.exists()
        assert path.read_bytes() == written
    finally:
        path.write_bytes(sound)


def test_a_built_dataset_with_a_pickled_array_is_refused(tmp_path):
    """An `.npy` file of objects, which numpy would unpickle, is damage."""
    mark = tmp_path / "mark"
    np.save(tmp_path / "train-labels.npy", np.array([Payload(mark)], dtype=object), allow_pickle=True)
    np.load(tmp_path / "train-labels.npy", allow_pickle=True)
    mark.rmdir()
    (tmp_path / "manifest.json").write_text(json.dumps({"sha256": "0", "files": {}}))
    with pytest.raises(DataError, match=re.escape(str(tmp_path))):
        read_built(tmp_path, {}, {})
    assert not mark.exists()


FORBIDDEN = {
    "eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads",
    "shelve.open", "joblib.load", "pd.read_pickle", "pandas.read_pickle", "yaml.unsafe_load", "yaml.full_load", "torch.jit.load",
    "torch.package.PackageImporter", "cloudpickle.load", "cloudpickle.loads", "tempfile.mktemp",
}  # fmt: skip


def unsafe(source):
    """The calls in a program that would execute what a file or a text says."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        bad = name in FORBIDDEN
        bad |= name == "torch.load" and given.get("weights_only") != "True"
        bad |= name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False"
        bad |= name in ("yaml.load", "yaml.load_all") and not given.get("Loader", "").endswith(("SafeLoader", "SweepLoader"))
        bad |= given.get("shell", "False") != "False"
        if bad:
            found.append(ast.unparse(call))
    return found


UNSAFE = [
    "torch.load(f)",
    "torch.load(f, weights_only=False)",
    "np.load(f, allow_pickle=True)",
    "yaml.load(t)",
    "yaml.load(t, Loader=yaml.Loader)",
    "run(w, shell=True)",
    "pickle.load(f)",
    "eval(t)",
    "exec(t)",
    "os.system(t)",
]


@pytest.mark.parametrize("line", UNSAFE)
def test_the_search_for_unsafe_calls_finds_them(line):
    """Each of the calls that must not be there is recognised."""
    assert unsafe(line) == [line]


@pytest.mark.parametrize("package", ["mopoe_core", "orchestrator", "benchmarks", "examples"])
def test_no_file_is_executed(package):
    """No call unpickles, evaluates, or hands a text to a shell; the loader of sweeps is a SafeLoader."""
    from orchestrator.spec import yaml_reader

    assert issubclass(yaml_reader.SweepLoader, yaml.SafeLoader)
    files = list((ROOT / package).rglob("*.py"))
    assert files
    assert {path.name: found for path in files if (found := unsafe(path.read_text(encoding="utf-8")))} == {}


# What names say stays in its folder.

OUTSIDE = [
    "../x",
    "/tmp/x",
    "a/../../b",
    "..",
    ".",
    "a\0b",
    "a\n",
    "a\nb",
    "a/b",
    "a\\b",
    "~",
    "",
    "a\u2215b",
    "\u2024\u2024/x",
    "a\u202eb",
    "a" * 65,
]


@pytest.mark.parametrize("name", OUTSIDE, ids=ascii)
def test_a_sweeps_name_is_no_path(name, tmp_path):
    """A name that could be one is refused in one line by the real command, and nothing is written anywhere."""
    base = SOUND["base"] | {"dataset": "nothing.py:nothing"}  # so that a name that is taken ends here as well
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SOUND | {"name": name, "base": base}))
    before = content(tmp_path)
    assert ": name: " in refused(tmp_path, "sweep", "s.yaml")
    assert content(tmp_path) == before


def test_whatever_name_is_taken_is_a_folder_in_storage(tmp_path):
    """Of thousands of strings of dots, slashes and the like, those that are accepted name a folder right below `sweeps`."""
    chance, taken = random.Random(0), 0
    for _ in range(5000):
        name = "".join(chance.choices("ab01._-./\\~ \n\0\u2024\u2215é", k=chance.randint(1, 6)))
        try:
            spec = parse(SOUND | {"name": name})
        except UserError:
            continue
        taken += 1
        assert Path(os.path.normpath(sweep_folder(tmp_path, spec))).parent == tmp_path / "sweeps"
    assert taken > 20


@pytest.mark.parametrize("folder", ["a\0b", "a\nb", " ", "\x1b[2J"], ids=ascii)
@pytest.mark.parametrize("field", ["storage", "data"])
def test_a_folder_has_a_plain_name(field, folder, tmp_path):
    """NUL, line breaks and codes for terminals are refused for storage and data in one line."""
    changes = {"storage": folder} if field == "storage" else {"resources": {"data": folder}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SOUND | changes))
    assert not unnamed(refused(tmp_path, "plan", "s.yaml"), re.compile(rf"\b{field}: "), repr(folder))


@pytest.mark.parametrize("folder", ["what?", "a?mode=memory", "%2e%2e", "a%3Fb"])
def test_storage_is_no_part_of_an_address(folder, tmp_path):
    """What SQLite's URI would cut off or decode, so that MLflow's database lay elsewhere, is refused; so in --storage."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SOUND))
    assert not unnamed(refused(tmp_path, "plan", "s.yaml", "--storage", folder), "--storage", "'?'", "'%'")


@pytest.mark.parametrize("reference", ["a\nb.py:f", "\x1b[2Jx.py:f", "a\0b.py:f", "x.py:f\u202e"], ids=ascii)
def test_a_datasets_reference_is_one_printable_line(reference, tmp_path):
    """It stands in messages and tables: with a line break or a code for terminals it is refused."""
    with pytest.raises(DataError) as caught:
        user_data.card(reference)
    assert not unnamed(caught.value, "dataset", repr(reference))
    assert str(caught.value).isprintable()


MODALITIES = [
    "../../x",
    "/tmp/x",
    "a/b",
    "..",
    "a\0b",
    "a\nb",
    "a b",
    "a.b",
    "<script>",
    "a\u2215b",
    "\u2024\u2024",
    "",
    "a" * 250,
]


def of_names(*names):
    """A dataset whose modalities have these names."""
    values, labels = np.zeros((40, 3), np.float32), np.arange(40) % 2
    return OwnDataset(tuple(OwnModality(name, "vector", values, values) for name in names), labels, labels)


@pytest.mark.parametrize("name", MODALITIES, ids=ascii)
def test_a_modality_is_no_path(name):
    """A user's modality gives files their names: what could lead out of a folder, or is too long for a file, is refused in a line."""
    with pytest.raises(DataError, match=r"^here\b.*\bmodalit(y|ies)\b") as caught:
        checks.check("here", of_names("sound", name))
    assert str(caught.value).isprintable()


def test_a_command_writes_nothing_for_a_modality_that_is_a_path(tmp_path):
    """The real command that draws a contact sheet refuses the dataset, and leaves no file."""
    home = tmp_path / "deep" / "home"
    home.mkdir(parents=True)
    source = "import numpy as np\nfrom tests.system.test_security import of_names\ndef made():\n    return of_names('sound', '../../x')\n"
    (home / "mine.py").write_text(source)
    before = content(tmp_path)
    assert not unnamed(refused(home, "data", "mine.py:made"), "mine.py:made", "'../../x'")
    assert content(tmp_path) == before


@pytest.mark.parametrize("count", [2, 5])
def test_the_longest_names_that_are_taken_fit_into_files_and_metrics(count, tmp_path):
    """Pictures, with the temporary name before their own, are within the file system's limit, and metrics within MLflow's of 250."""
    length = checks.LONGEST_NAMES // (count + 1) - 1
    names = [f"{i}{'é' * ((length - 1) // 2)}" for i in range(count)]
    checks.check("here", of_names(*names))
    longest = f".given_{subset_name(names)}.png.12345678"
    (tmp_path / longest).touch()
    assert max(len(name) for name in metric_names(names)) <= 250


# What names say does not break out of a page, a table, or a shell.

MARKUP = "x--><script>alert(1)</script>\"'&|_%$\\frac$^~{}#`"


class Page(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note an element and its attributes."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        """Collect text."""
        self.text += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The report of a sweep over two datasets, one in a file whose path is markup; pictures and provenance are hostile too."""
    home = tmp_path_factory.mktemp("hostile")
    file = home / f"{MARKUP}.py"
    file.parent.mkdir(parents=True)
    for path in (file, home / "plain.py"):
        path.write_text("from tests.system.test_security import of_names\ndef made():\n    return of_names('a', 'b')\n")
    user_data.search_from(home)
    try:
        base = {"model": "mopoe", "latent_dim": 2, "batch_size": 10}
        spec = parse({"name": "s", "base": base, "grid": {"dataset": [f"{MARKUP}.py:made", "plain.py:made"]}, "seeds": 2})
        every = spec.trials
        values = {"coherence/joint": 0.5, "coherence/given_1": 0.4, "log_likelihood/joint": -3.0, "probe/a": 0.9}
        done = [result(t.cell, t.seed, values, host=MARKUP, **{MARKUP: "field"}) for t in every[:-1]]
        picture = home / "picture.png"
        Image.new("RGB", (4, 4)).save(picture)
        samples = {t.id: {f"given_{MARKUP}": picture} for t in every}
        states = {t.id: "completed" for t in every[:-1]} | {every[-1].id: f"failed {MARKUP}"}
        yield report.write(spec, done, states, samples, f"python -m orchestrator sweep '{MARKUP}'", home / "report")
    finally:
        user_data.search_from(Path())


def test_markup_in_names_is_text_on_the_page(hostile):
    """Labels, statuses, captions and provenance that hold markup are shown letter by letter; no element or handler comes from them."""
    text = hostile.page.read_text(encoding="utf-8")
    page = Page(text)
    assert page.text.count(MARKUP) > 8
    assert not {"iframe", "object", "embed", "form", "link", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert text.lower().count("<script") == page.tags.count("script") == 1  # the page's own
    assert MARKUP not in text.partition("<script>")[2]
    assert any(name in ("alt", "aria-label") and MARKUP in value for name, value in page.attributes)


def test_the_page_may_run_nothing_anyway(hostile):
    """A policy in the page itself forbids every address and every script but its own, so that what slipped through would not run."""
    text = hostile.page.read_text(encoding="utf-8")
    page = Page(text)
    script = text.partition("<script>")[2].partition("</script>")[0]
    (policy,) = (value for name, value in page.attributes if name == "content" and "-src" in value)
    assert dict(part.split(" ", 1) for part in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'",
    }


def test_markup_in_names_is_text_in_the_figure(hostile):
    """The figure, whose elements the page holds, has names letter by letter: no element and no attribute comes from them."""
    text = hostile.fronts[0].svg.read_text(encoding="utf-8")
    page = Page(text)
    assert "path" in page.tags
    assert "script" not in page.tags
    assert MARKUP[:12] in page.text
    assert not [value for _, value in page.attributes if "alert(1)" in (value or "")]


def test_names_do_not_break_out_of_markdown(hostile):
    """Every line of a table has the header's cells, headings have none, and no HTML, code or link begins in them."""
    lines = hostile.markdown.read_text(encoding="utf-8").splitlines()
    unescaped = [re.sub(r"\\[\\|<`(]", "", line) for line in lines]
    assert len({line.count("|") for line in unescaped if line.startswith("|")}) == 1
    assert not [line for line in unescaped if "|" in line and not line.startswith("|")]
    assert not re.search(r"[<`]|\]\(", "".join(unescaped))
    assert any("alert" in line for line in lines)


def test_a_backslash_does_not_free_the_pipe_after_it():
    r"""`\|` in a name is a backslash and a pipe, and `](` begins no link."""
    assert markdown.escape(r"a\|b") == r"a\\\|b"
    assert markdown.escape("[a](b)") == r"[a]\(b)"


ESCAPED = r"\\[&%$#_{}]|\\text\w+\{\}|\$\^\{(\*|\\dagger)\}\$|\$(\\mathbf\{)?[-\d.]+( \\pm [\d.]+)?\}?\$"
"""What stands for one sign in LaTeX, and the numbers, star and dagger that the table itself writes as formulas."""


def test_names_do_not_break_out_of_latex(hostile):
    """Without what is escaped no sign is left that means something to LaTeX, braces pair, and each row has the header's columns."""
    lines = hostile.latex.read_text(encoding="utf-8").splitlines()
    bare = [re.sub(ESCAPED, "", row.removesuffix(r"\\")) for row in lines if row.endswith(r"\\")]
    headings = [re.fullmatch(r"\\par\\medskip\\noindent\\textbf\{(.*)\}\\par\\smallskip", line) for line in lines]
    names = [re.sub(ESCAPED, "", heading[1]) for heading in headings if heading]
    assert any("alert" in name for name in names)
    assert not [text for text in [*bare, *names] if re.search(r"[%$#_{}^~\\]", text)]
    assert len({row.count("&") for row in bare}) == 1


TYPED = [
    "a b.yaml",
    "it's",
    'a"b',
    "a;touch mark",
    "$(touch mark)",
    "`touch mark`",
    "a&&touch mark",
    "*",
    "~",
    "-n",
    "a\nb",
    "#",
    "!x",
    "",
]


def words_of(command, folder):
    """The words that a shell hands to the program of a pasted command, by a program that prints them."""
    (folder / "program").write_text(f"#!{PYTHON}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    (folder / "program").chmod(0o755)
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    assert sorted(path.name for path in folder.iterdir()) == ["program"]
    return json.loads(done.stdout)


@pytest.mark.parametrize("word", TYPED, ids=ascii)
def test_the_command_that_goes_on_is_the_one_that_was_typed(word, monkeypatch, tmp_path):
    """Pasted into a shell it gives the program the very words, and runs nothing else."""
    monkeypatch.setattr(sys, "argv", ["orchestrator", "sweep", word, "--storage", word])
    command = typed_command().replace(shlex.join(program()), "./program", 1)
    assert words_of(command, tmp_path) == ["sweep", word, "--storage", word]


@pytest.mark.parametrize("word", TYPED, ids=ascii)
def test_a_command_on_the_same_sweep_names_it_as_it_was_named(word, tmp_path):
    """Pasted into a shell it gives the program another command with the very file, scale and storage, and runs nothing else."""
    named = Typed(Path(f"{word}.yaml"), word, word)
    command = named.command("ui").replace(shlex.join(program()), "./program", 1)
    assert words_of(command, tmp_path) == ["ui", str(Path(f"{word}.yaml")), "--scale", word, "--storage", word]


# What is secret is not told, and nothing listens for others.


@pytest.mark.parametrize(
    "uri",
    [
        "s3://KEY:SECRET@bucket/folder",
        "s3://KEY:SEC/RET@bucket/folder",
        "s3://KEY:SEC%2FRET@bucket?region=eu",
        "s3://bucket/folder?session_token=SECRET&region=eu",
        "http://user:SEC#RET@host:5000/",
        "http://user:SEC?RET@host/",
        "postgresql+psycopg2://user:SECRET@host/db",
    ],
)
def test_a_masked_address_has_no_secret(uri):
    """Neither user, password nor an option that could be secret is left, also where the password has signs of addresses in it."""
    assert not re.search("SEC|RET|KEY|user", masked(uri))


@pytest.mark.parametrize(
    "uri", ["runs", "sqlite:////home/me@here/mlflow.db", "http://127.0.0.1:5000", "s3://bucket/folder?region=eu"]
)
def test_an_address_without_secrets_is_shown_as_it_is(uri):
    """Also a path with an @ in it."""
    assert masked(uri) == uri


@pytest.mark.parametrize("words", [["--storage", "s3://KEY:SECRET@bucket"], ["--storage=s3://KEY:SECRET@bucket"]])
def test_the_command_that_is_shown_has_no_secret(words, monkeypatch):
    """It stands on the report's page and in messages."""
    monkeypatch.setattr(sys, "argv", ["orchestrator", "sweep", "s.yaml", *words])
    for command in (typed_command(), recorded_command()):
        assert "***@bucket" in command
        assert not re.search("KEY|SECRET", command)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tracking_servers_password_is_told_nowhere(tmp_path, undrawn):
    """With credentials in MLFLOW_TRACKING_URI and no server there, neither the output nor any file of storage has them."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SOUND))
    (trial,) = parse(SOUND).trials
    ledger = Ledger(tmp_path / "storage")
    ledger.begin(trial)
    ledger.record(result(trial.cell, 0, {"coherence/joint": 0.5, "log_likelihood/joint": -3.0}))
    done = typed_here("sweep", "s.yaml", folder=tmp_path, MLFLOW_TRACKING_URI="http://somebody:S3cretPassw0rd@127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "http://***@127.0.0.1:9" in done.stdout
    assert "MLflow: " in done.stderr
    for place, text in {"output": done.stdout, "errors": done.stderr}.items():
        assert "S3cret" not in text, place
    assert [path for path, text in content(tmp_path).items() if text and b"S3cret" in text] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sweep_listens_on_loopback_alone_and_keeps_its_token(tmp_path):
    """While a real sweep runs, no process of it has a socket that others could reach; Ray's token is its owner's and in no file."""
    base = {"dataset": EXAMPLE, "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 1}
    sweep_file = {"name": "s", "base": base, "seeds": 4, "resources": {"stack": "auto"}, "storage": str(tmp_path / "storage")}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep_file))
    command = [sys.executable, "-m", "orchestrator", "sweep", str(tmp_path / "s.yaml")]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"HOME": str(tmp_path)}
    found, looks = set(), 0
    with (tmp_path / "output").open("w") as output:
        driver = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    processes = {driver.pid}
    try:
        while driver.poll() is None:
            processes = descendants(processes)  # and below those whose parent has ended, which are init's by now
            found |= listeners(processes)
            looks += 1
            time.sleep(0.2)
    finally:
        driver.kill()  # where the test was cut
    assert driver.returncode == 0, (tmp_path / "output").read_text()
    assert looks > 10
    assert {"gcs_server", "raylet", "ray::Worker"} <= {one.process for one in found}
    assert [one for one in found if not one.is_loopback] == []
    assert len(list((tmp_path / "storage" / "stacks").glob("*.json"))) == 1, "workers have measured the size of stacks"
    token = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    secret = token.read_bytes()
    assert [path for path, text in content(tmp_path).items() if text and secret in text and path != token] == []
