"""The page of the report: what its markers show, what it says of seeds and failures, and what a browser makes of it."""

import base64
import hashlib
import math
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations

import pandas as pd
import pytest
from mlflow import MlflowClient

from orchestrator.analysis import failure_causes
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.sweep_analysis import analyse
from orchestrator.cli.result_commands import PORT
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import report
from orchestrator.report.render.numbers import to_spread
from orchestrator.report.sections import seed_section
from orchestrator.report.sections.failure_section import rerun_command
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow import run_links
from tests.support.browser import CHROMIUM, browser
from tests.support.builders import COHERENCE, LIKELIHOOD, PAGE, grid_results, result
from tests.support.naming import unnamed

COMMAND = "mopoe sweep page.yaml --storage 'my runs' --retrain-damaged"
ERROR = 'Traceback (most recent call last):\n  File "/x/orchestrator/worker.py", line 3, in run\nValueError: </pre><b id=evil>no'
VOID = {"meta", "br", "img", "wbr", "hr", "input", "link"}


def analysed(spec, results):
    """Returns the analysis of these results, where every cell may be on a front."""
    return analyse(spec, groups_of(spec, results), {cell.id for cell in spec.cells})


class Parsed(HTMLParser):
    """Elements with their attributes, and the text within every element that has an id."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.strays, self._open = [], {}, [], []
        self.feed(text)
        self.strays += [tag for tag, _ in self._open]

    def handle_starttag(self, tag, attrs):
        """Note an element, and that it is open."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        """Note an element without content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Close the innermost element, which has to be of this kind."""
        if not self._open or self._open[-1][0] != tag:
            self.strays.append(tag)
        else:
            self._open.pop()

    def handle_data(self, data):
        """Add text to all that it is within."""
        for _, key in self._open:
            if key:
                self.texts[key] = self.texts.get(key, "") + data

    def ids(self, tag):
        """Of all elements of a kind."""
        return [attributes["id"] for name, attributes in self.elements if name == tag and "id" in attributes]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The page of a sweep in which of mmvae's six trials one raised and one diverged; with its spec, results and folder."""
    home, spec = tmp_path_factory.mktemp("swept"), parse(PAGE)
    ledger, every = Ledger(home / "runs"), spec.trials
    for found in grid_results(spec.cells, 3):
        trial = found.trial
        ledger.begin(trial)
        if (trial.config.model, trial.seed) != ("mmvae", 2):
            ledger.record(found)
        elif trial.config.beta == 0.5:
            ledger.record(result(trial.cell, 2, {}, "diverged"))
        else:
            ledger.fail(trial, ERROR)
    states = {trial.id: ledger.state(trial) for trial in every}
    runs = {key: f"http://127.0.0.1:5000/#/experiments/1/runs/{key}" for t in every[:-1] for key in (t.id, t.cell.id)}
    context = report.ReportContext(tuple(failure_causes.find(every, states, ledger)), runs, "name: page  # <i id=evil>\n")
    results, now = ledger.results_of(every), {key: state.status for key, state in states.items()}
    paths = report.write(spec, results, now, {}, COMMAND, home / "report", context=context)
    return spec, paths, paths.page.read_text()


@pytest.fixture(scope="module")
def page(swept):
    """Parsed."""
    return Parsed(swept[2])


def test_the_page_is_whole(page):
    """Every element that is opened is closed in its turn, no id is there twice, and what the contents lead to is there."""
    assert page.strays == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [key for key, count in Counter(ids).items() if count > 1] == []
    anchors = [a["href"][1:] for tag, a in page.elements if tag == "a" and a["href"].startswith("#")]
    assert set(anchors) <= set(ids)
    assert {"front", "seeds", "cells", "curves", "missing", "provenance"} <= set(anchors)


def test_the_page_refers_to_nothing_but_itself_and_runs_on_this_machine(swept, page):
    """Addresses are data, anchors, files of the report, or of MLflow on loopback; styles name no address."""
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href", "xlink:href")
    ]
    folder = swept[1].page.parent
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    others = [address for address in addresses if not address.startswith(("data:image/", "#")) and address not in files]
    assert others
    assert all(address.startswith("http://127.0.0.1:5000/#/experiments/") for address in others)
    assert not re.search(r"url\((?!#)|@import", "".join(str(a.get("style", "")) for _, a in page.elements))


def test_only_the_pages_own_script_may_run(swept, page):
    """There is one, the policy has the hash of its text, and nothing else of scripts is allowed."""
    (script,) = re.findall(r"<script>(.*?)</script>", swept[2], re.DOTALL)
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["script-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    assert rules["default-src"] == "'none'"


def test_every_cell_has_a_marker_a_card_and_a_row(swept, page):
    """Marker and card go by the cell's id; the marker can be focused and has a title; its row leads to it."""
    ids = {cell.id for cell in swept[0].cells}
    marks = {a["id"]: a for tag, a in page.elements if a.get("class") == "mark"}
    assert set(marks) == {f"cell-{key}" for key in ids}
    assert set(page.ids("section")) - {"summary"} == {f"card-{key}" for key in ids}
    assert all(a["tabindex"] == "0" for a in marks.values())
    assert all(a["aria-label"] in page.texts[key] for key, a in marks.items())
    assert set(marks) <= {a["href"][1:] for tag, a in page.elements if tag == "a"}


def test_numbers_at_a_marker_are_those_of_the_csv(swept, page):
    """n, mean, sd and both ends of the interval of each objective, to half of the last digit shown; in card and title."""
    table = pd.read_csv(swept[1].cells_csv)
    for cell in swept[0].cells:
        own = table[table.cell_id == cell.id].set_index("name")
        title, card = page.texts[f"cell-{cell.id}"], page.texts[f"card-{cell.id}"]
        assert f"n = {own['n'].iloc[0]} of 3" in title
        assert f"n = {own['n'].iloc[0]} of 3" in " ".join(card.split())
        for metric in (COHERENCE, LIKELIHOOD):
            found = re.search(rf"{metric} (\S+) ± (\S+) \w+, 95 % interval (\S+) to ([^;]+);", title).groups()
            wanted = own.loc[metric, ["mean", "sd", "low", "high"]]
            for text, value in zip(found, wanted, strict=True):
                assert abs(float(text.replace("−", "-")) - value) <= 0.5001 * 10 ** -len(text.partition(".")[2])
                assert text in card


def test_a_marker_says_how_sure_its_place_on_the_front_is(swept, page):
    """As the table of cells says it, without a probability: three seeds are too few for one."""
    shown = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in swept[1].markdown.read_text().splitlines()[2:]}
    for cell in swept[0].cells:
        front, title = shown[f"{cell.config.model} beta={cell.config.beta:g}"], page.texts[f"cell-{cell.id}"]
        assert "probability" not in title
        assert front in ("", "*")
        assert ("; on the front" in title) == (front == "*")


def test_a_card_leads_to_the_runs_of_its_trials(swept, page):
    """One link a trial whose run is known, and the id of the trial whose run is not."""
    spec, _, text = swept
    for trial in spec.trials:
        card = text.partition(f'id="card-{trial.cell.id}"')[2].partition("</section>")[0]
        linked = f'/runs/{trial.id}" title="trial {trial.id}">seed {trial.seed}</a>' in card
        assert linked != (f"seed {trial.seed} <code>{trial.id}</code>" in card)
        assert linked == (trial.id != spec.trials[-1].id)


def test_each_pair_of_models_has_a_sentence(swept, page):
    """Those with the same seeds are compared; a model that lacks seeds is not ranked, and the reason is said."""
    pairs = list(combinations(("MVAE", "MMVAE", "MoPoE"), 2))
    text = " ".join(page.texts[key] for key in page.texts if key is not None) + swept[2]
    assert "MVAE&#39;s hypervolume is lower than MoPoE&#39;s" in text  # the one sentence that is looked at word by word
    assert "exact" in text
    for first, second in pairs:
        if "MMVAE" in (first, second):
            assert re.search(rf"({first} and {second}|{second} and {first}) are not ranked", text)
    assert swept[2].count("<td>not ranked</td>") == 2


def test_models_whose_seeds_differ_are_ranked_where_that_is_asked(swept, tmp_path):
    """On the two seeds that both have, and each sentence says that the others are left out."""
    spec = swept[0]
    results = Ledger(swept[1].page.parent.parent / "runs").results_of(spec.trials)
    made = seed_section.write(analysed(spec, results), tmp_path, unequal=True)
    (block,) = made.blocks
    of_mmvae = [sentence for sentence in block.sentences if "mmvae" in sentence]
    assert len(of_mmvae) == 2
    assert not any(unnamed(sentence, 2, 3, "seeds") for sentence in of_mmvae)


def test_hypervolumes_are_over_complete_seeds(swept):
    """MVAE has all three, MMVAE two."""
    rows = dict(
        re.findall(
            r"<tr><td>(\w+)</td><td>(\d/3)</td>", swept[2].partition("Hypervolume of a series")[2].partition("</table>")[0]
        )
    )
    assert rows == {"MVAE": "3/3", "MMVAE": "2/3", "MoPoE": "3/3"}


def test_what_failed_is_shown_with_its_traceback_and_a_command(swept, page):
    """The traceback is text, whatever it holds; the diverged trial has its step; the command names the same file and storage."""
    text = swept[2]
    assert "evil" not in {attributes.get("id") for _, attributes in page.elements}
    assert "ValueError: &lt;/pre&gt;&lt;b id=evil&gt;no" in text
    assert not unnamed(text, "ValueError", "orchestrator/worker.py:3", "run", "step 7")
    failed = next(t for t in swept[0].trials if (t.config.model, t.config.beta, t.seed) == ("mmvae", 2.5, 2))
    command = f"mopoe rerun page.yaml --storage 'my runs' --trial {failed.id} --here"
    assert command.replace("'", "&#39;") in text
    assert "name: page  # &lt;i id=evil&gt;" in text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("report a.yaml", "rerun a.yaml --trial t --here"),
        ("sweep --scale small a.yaml --storage=x", "rerun a.yaml --scale small --storage=x --trial t --here"),
        ("report --against-paper a.yaml", "rerun a.yaml --trial t --here"),
    ],
)
def test_the_command_that_shows_a_failure_again_is_of_the_same_sweep(command, expected):
    """File, scale and storage are as they were typed, and nothing else is."""
    for program in ("mopoe", "python -m orchestrator"):  # earlier versions recorded the second
        assert rerun_command(f"{program} {command}", "t") == f"mopoe {expected}"


def test_groups_that_differ_in_their_setting_are_not_compared(tmp_path):
    """Two sizes of the latent are two blocks, with a figure each."""
    spec = parse(PAGE | {"grid": {"latent_dim": [8, 16], "model": ["mvae", "mopoe"]}})
    results = grid_results(spec.cells, 2)
    made = seed_section.write(analysed(spec, results), tmp_path, False)
    assert [block.label.rpartition(", ")[2] for block in made.blocks] == ["latent_dim=8", "latent_dim=16"]
    assert all([pair[:2] for pair in block.pairs] == [("mvae", "mopoe")] for block in made.blocks)
    figures = {block.figure for block in made.blocks} | {path for _, path in made.curves}
    assert len(figures) == 4
    assert all(path.exists() for path in figures)


def test_numbers_are_shown_with_two_digits_of_their_spread():
    """Also where that is large; what is no number is a dash."""
    assert to_spread(0.0123, 0.5, -1.0) == ["0.500", "−1.000"]
    assert to_spread(250.0, 1234.5) == ["1234"]
    assert to_spread(math.nan, -1900.04, math.nan) == ["−1900.0", "–"]


def test_runs_are_found_in_mlflows_own_file(tmp_path):
    """Each trial and cell has the address of the run that MLflow made for it; deleted runs, other experiments and servers give none."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment, other = (client.create_experiment(name, artifact_location=str(tmp_path)) for name in ("mine", "other"))
    made = client.create_run(experiment, tags={"kind": "trial", "trial_id": "t1", "cell_id": "c1"}).info.run_id
    cell = client.create_run(experiment, tags={"kind": "cell", "cell_id": "c1"}).info.run_id
    client.create_run(other, tags={"kind": "trial", "trial_id": "t2", "cell_id": "c1"})
    client.delete_run(client.create_run(experiment, tags={"kind": "trial", "trial_id": "t3", "cell_id": "c1"}).info.run_id)
    address = f"http://127.0.0.1:{PORT}/#/experiments/{experiment}/runs"
    assert run_links.run_links(uri, "mine") == {
        "t1": f"{address}/{made}?workflowType=machine_learning",
        "c1": f"{address}/{cell}?workflowType=machine_learning",
    }
    (tmp_path / "broken.db").write_text("this is no database")
    assert [run_links.run_links(f"sqlite:///{tmp_path}/{name}.db", "mine") for name in ("broken", "none")] == [{}, {}]
    assert run_links.run_links("http://127.0.0.1:1", "mine") == {}
    assert not (tmp_path / "none.db").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_shows_a_card_on_focus_hover_and_tap(swept, tmp_path):
    """The keyboard opens, enters and leaves a card, mouse and finger open another, none is wider than the window, and the console is
    silent.
    """
    first, second = (cell.id for cell in swept[0].cells[:2])
    with browser(tmp_path / "profile") as tab:
        for width, touch in ((1280, tab.point), (400, tab.tap)):
            tab.open(swept[1].page, width)
            assert tab.run("document.documentElement.scrollWidth <= innerWidth")
            assert tab.run("document.getElementById('tip').hidden")
            tab.run(f"document.getElementById('cell-{first}').focus()")
            assert tab.run("document.getElementById('tip').innerText").startswith("MVAE β=0.5\n")
            box = tab.run("(({left, right}) => [left, right])(document.getElementById('tip').getBoundingClientRect())")
            assert 0 <= box[0] < box[1] <= width
            tab.press("Enter")
            assert tab.run("document.activeElement.href").startswith("http://127.0.0.1:5000/#/experiments/1/runs/")
            tab.press("Escape")
            assert tab.run("document.activeElement.id") == f"cell-{first}"
            assert tab.run("document.getElementById('tip').hidden")
            tab.run(f"document.getElementById('cell-{second}').scrollIntoView({{block: 'center', inline: 'center'}})")
            middle = f"document.querySelector('#cell-{second} .hit').getBoundingClientRect()"
            x, y, w, h = (tab.run(f"{middle}.{side}") for side in ("x", "y", "width", "height"))
            touch(x + w / 2, y + h / 2)
            tab.run("new Promise(requestAnimationFrame)")
            assert tab.run("document.getElementById('tip').innerText").startswith("MVAE β=2.5\n")
    assert tab.complaints == []
