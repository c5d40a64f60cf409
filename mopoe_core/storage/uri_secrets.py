"""Finds the secrets in a URI, such as a key and a password, and removes them from texts."""

import re
from urllib.parse import parse_qsl, unquote, urlencode

HARMLESS = ("region", "scheme", "endpoint_override", "allow_bucket_creation", "allow_bucket_deletion", "anonymous")
"""Options of a URI that are no secrets."""


def masked(uri: str) -> str:
    """Returns the URI with `***` for user, password and options that could be secret; a string that is no URI is returned unchanged."""
    scheme, user, rest, options = _parts(uri)
    if not scheme:
        return uri
    masked_options = [(key, value if key in HARMLESS else "***") for key, value in options]
    query = f"?{urlencode(masked_options, safe='*:/')}" if masked_options else ""
    return f"{scheme}://{'***@' if user else ''}{rest}{query}"


def without_secrets(error: Exception | str, uri: str) -> str:
    """Returns an error's text on one line, with the secrets of `uri` replaced by `***`."""
    text = " ".join(str(error).replace(uri, masked(uri)).split())
    for secret in _secrets(uri):
        text = text.replace(secret, "***")
    return text


def credentials(uri: str) -> str:
    """Returns user and password of a URI as they are written; empty if it has none."""
    return _parts(uri)[1]


def _secrets(uri: str) -> list[str]:
    _, user, _, options = _parts(uri)
    candidates = [*user.split(":"), *unquote(user).split(":"), *(value for key, value in options if key not in HARMLESS)]
    return [secret for secret in candidates if len(secret) > 3]


def _parts(uri: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Returns scheme, user and password, host and path, and options. A secret may contain an unquoted `/` or `?`."""
    scheme, mark, after = uri.partition("://")
    if not mark or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "", "", uri, []
    before, _, query = after.partition("?")
    if "@" not in before and "@" in query and not re.fullmatch(r"[^:]*(:\d*)?", before.partition("/")[0]):
        user, _, after = after.rpartition("@")  # a secret with a question mark in it
        before, _, query = after.partition("?")
        return scheme, user, before, parse_qsl(query, keep_blank_values=True)
    user, at, rest = before.rpartition("@")
    if at and "/" in user and ":" not in user.partition("/")[0]:
        user, rest = "", before  # an @ in a path
    return scheme, user, rest, parse_qsl(query, keep_blank_values=True)
