"""Recognises web pages, which a quota, a login or a proxy leaves under a data file's name."""

from pathlib import Path

STARTS = (b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml")
"""The first bytes, in lower case, of web pages and of file servers' errors. No data file that is read here begins so."""


def is_web_page(path: Path) -> bool:
    """Whether a file begins as a web page does; False if it cannot be opened, because its reader reports that better."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(STARTS)
