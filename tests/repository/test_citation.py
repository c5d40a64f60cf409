"""The citation file says what its format asks for."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CITED = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
TYPES = {"article", "book", "conference", "conference-paper", "generic", "proceedings", "report", "software", "thesis"}
"""Of the format's types of references, the usual ones."""


def authors_are_named(authors):
    """Each is a person with a family name, or has a name; the format asks for one at least."""
    return bool(authors) and all(author.get("family-names") or author.get("name") for author in authors)


def test_the_fields_that_the_format_requires_are_there():
    """CFF 1.2.0: cff-version, message, title and authors; of a reference authors, title and type."""
    assert CITED["cff-version"] == "1.2.0"
    assert all(isinstance(CITED[field], str) and CITED[field].strip() for field in ("message", "title"))
    assert authors_are_named(CITED["authors"])
    assert CITED["type"] in {"software", "dataset"}
    for reference in CITED["references"]:
        assert reference["title"].strip()
        assert reference["type"] in TYPES
        assert authors_are_named(reference["authors"])
        assert re.fullmatch(r"https://\S+", reference["url"])


def test_the_paper_is_cited_and_version_and_licence_are_the_packages():
    """Sutter, Daunhawer and Vogt, 2021; a release that forgets this file is noticed."""
    (paper,) = CITED["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Sutter", "Daunhawer", "Vogt"]
    assert (paper["title"], paper["year"]) == ("Generalized Multimodal ELBO", 2021)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (CITED["version"], CITED["license"]) == (project["version"], project["license"])
