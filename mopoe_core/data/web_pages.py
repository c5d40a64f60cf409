"""Telling web pages from data: what a quota, a login or a proxy leaves under a data file's name."""

from pathlib import Path

STARTS = (b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml")
"""How pages, and errors of file servers, begin in lower case; no file that is read here begins so."""


def is_web_page(path: Path) -> bool:
    """Whether a file begins as a web page does; False where it cannot be opened, of which its reader says more."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(STARTS)
