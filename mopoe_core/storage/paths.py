"""Converts a user's text to a path of storage: expands variables and home folders, and tells local folders from URIs."""

import hashlib
import os
import re
from pathlib import Path

from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.uri_secrets import credentials

AnyPath = Path | RemotePath
"""A path of storage. Code uses only what both kinds offer."""
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?=/)")
"""The scheme of a URI with its colon. A single slash may follow: `Path` makes one of two."""


def expand(text: str) -> str:
    """Returns a path or URI with `~`, `~user`, `$NAME` and `${NAME}` replaced by their values; `$$` is a dollar sign.

    In a URI, variables are replaced in host and path, and not in user, password and options: a secret may contain a dollar sign. Raises
    ValueError if a variable is not set, a user does not exist, or a dollar sign begins no variable.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or "$" in scheme or "/" in scheme or not scheme:
        replaced = _with_variables(text)
        return replaced if "://" in replaced else _with_home(replaced)
    if scheme == "file":
        return f"file://{_with_home(_with_variables(rest))}"
    user = credentials(text)
    head = f"{scheme}://{user}@" if user else f"{scheme}://"
    path, question, options = text.removeprefix(head).partition("?")
    return f"{head}{_with_variables(path)}{question}{options}"


def _with_variables(text: str) -> str:
    return re.sub(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}|.?)", _value_of, text)


def _value_of(variable: re.Match[str]) -> str:
    dollar, name = variable[1], variable[2] or variable[3]
    if dollar:
        return "$"
    if not name:
        raise ValueError("has a dollar sign that begins no variable; write $NAME or ${NAME}, or $$ for the sign itself")
    if not os.environ.get(name):
        state = "empty" if name in os.environ else "not set"
        raise ValueError(f"names the variable {name}, which is {state}; set it, or write $$ for a dollar sign")
    return os.environ[name]


def _with_home(text: str) -> str:
    path = os.path.expanduser(text)
    if path.startswith("~"):
        user = path.partition("/")[0]
        raise ValueError(f"begins with {user}, and there is no such user; write the folder out, or ./{user} for one of that name")
    return path


def storage_path(text: str) -> AnyPath:
    """Returns the folder that a path or URI names; a `file:` URI is a local folder. Raises ValueError if it names none."""
    if not text.strip() or not text.isprintable():
        raise ValueError("names no folder")
    expanded = expand(text)
    if not expanded.strip() or not expanded.isprintable():
        raise ValueError("names no folder")
    if "://" not in expanded and not expanded.startswith("file:"):
        return LocalPath(expanded).absolute()
    if expanded.startswith("file:"):
        return _of_file_uri(expanded).absolute()
    return RemotePath.open(expanded)


def local_folder(text: str) -> Path:
    """Returns the folder of this machine that a path or a `file:` URI names. Raises ValueError if it names none, or is another URI."""
    expanded = expand(text)
    if expanded.startswith("file:"):
        return _of_file_uri(expanded)
    if uri := URI.match(expanded):
        raise ValueError(f"is a URI ({uri[0]}//), and only a folder or file of this machine can be used here; name one")
    return LocalPath(expanded)


def _of_file_uri(uri: str) -> Path:
    """Returns the folder of a `file:` URI. Raises ValueError if the URI is relative, or names another machine."""
    path = uri.removeprefix("file:")
    host, slash, rest = path.removeprefix("//").partition("/") if path.startswith("//") else ("", "", path.removeprefix("/"))
    if not path.startswith("/") or host not in ("", "localhost") or (host and not slash):
        raise ValueError("names no folder of this machine; write file:///FOLDER with the whole path, or the path alone")
    return LocalPath(f"/{rest}")


def local_counterpart(folder: AnyPath) -> Path:
    """Returns a folder for files that must be local: the storage's folder itself, or for a remote one a folder in the user's cache."""
    if isinstance(folder, Path):
        return folder
    path, question, options = str(folder).partition("?")
    address = f"{path.rstrip('/')}{question}{options}"
    words = "-".join(re.findall(r"[A-Za-z0-9]+", path))
    key = hashlib.sha256(address.encode()).hexdigest()[:8]
    return LocalPath(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mopoe" / f"{words[:60]}-{key}"
