"""What MkDocs needs beside the pages.

The README is the first page of the site. Files outside `docs/` that pages link to are on the site too.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = ("CHANGELOG.md", "CITATION.cff", "cluster.yaml")
"""Files of the repository that pages link to."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README and the other linked files."""
    for name, source in [("index.md", "README.md"), *((name, name) for name in OUTSIDE)]:
        files.append(File.generated(config, name, content=_without_docs((ROOT / source).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files beside `docs/` lead to their copies on the site."""
    names = "|".join(map(re.escape, OUTSIDE))
    return re.sub(rf"\]\(\.\./({names})\)", r"](\1)", markdown)


def _without_docs(text: str) -> str:
    """Links from the repository's root into `docs/`, as the site has them."""
    return text.replace("](docs/", "](")
