"""The site of the docs builds without a warning, and has every page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site. MkDocs ends with an error if a link or a page is missing, or the reference names something that is not there."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_navigation(site):
    """A reader finds each page of `docs/` from the first one."""
    first = (site / "index.html").read_text(encoding="utf-8")
    pages = [path.stem for path in (ROOT / "docs").glob("*.md") if not path.stem.startswith("performance_")]
    assert [page for page in pages if f'href="{page}/"' not in first] == []


def test_the_reference_is_made_from_docstrings(site):
    """It has the first sentence of what it documents."""
    import mopoe_core

    text = re.sub(r"<[^>]+>", "", (site / "api" / "index.html").read_text(encoding="utf-8"))
    assert str(mopoe_core.load.__doc__).split("\n")[0].replace("`", "") in text


def test_files_that_pages_link_to_beside_the_docs_are_on_the_site(site):
    """With their content."""
    for name in ("cluster.yaml", "own-machines/cluster.yaml", "analysis.py"):
        there = ROOT / name if (ROOT / name).exists() else ROOT / "docs" / name
        assert (site / name).read_bytes() == there.read_bytes()
