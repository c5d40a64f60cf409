"""Runs a user's own code: in the folder where the command was typed, with the modules that lie beside the dataset's file.

The file's folder is on Python's path only while code of that dataset runs. What was imported from it is then taken out of
`sys.modules`, and is back when code of the dataset runs again. So two datasets may each have a `helpers.py` and get their own, and a
user's `utils.py` never stands in for a library's.

A program that reads files of others runs only the datasets that its user named (`only_permitted`): a name that stands in a record or a
checkpoint is not the user's word.
"""

import importlib
import importlib.util
import platform
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mopoe_core.errors import DataError
from mopoe_core.storage.paths import expand

OURS = ("mopoe_core", "orchestrator")


@dataclass(frozen=True)
class Code:
    """Where the code of a dataset is."""

    place: str
    """`folder/file.py` or `package.module`."""
    root: Path
    """The folder in which the command was typed: relative names are looked for there."""

    @property
    def file(self) -> Path | None:
        """The file; None for a module. Raises ValueError where the name has a variable that is not set."""
        if not self.place.endswith(".py"):
            return None
        literal = self.root / self.place  # a file may have a dollar sign in its name
        # Only the path is expanded: the name, and so every identity, stays as it is written.
        return (literal if literal.exists() else self.root / expand(self.place)).absolute()


@dataclass(frozen=True)
class Bound:
    """A function of the user's that makes a network, called as the dataset's own code is."""

    code: Code
    make: Callable[[int], Any]

    def __call__(self, count: int) -> Any:
        """What the user's function returns."""
        with running(self.code):
            return self.make(count)


_kept: dict[Path, dict[str, ModuleType]] = {}
"""By folder, the modules that were imported from it, while no code of it runs."""
_open: list[Path] = []
"""The folders whose code runs now."""
_permitted: set[str] | None = None
"""The datasets whose code may run; None where every dataset's may."""


@contextmanager
def only_permitted() -> Iterator[None]:
    """While this is open, code runs of those datasets only that are given to `permit`; in every thread."""
    global _permitted
    before, _permitted = _permitted, set()
    try:
        yield
    finally:
        _permitted = before


def permit(references: Iterable[str]) -> None:
    """Let the code of these datasets run, because the user named them."""
    if _permitted is not None:
        _permitted.update(references)


def check_permitted(reference: str) -> None:
    """Raise DataError where the code of this dataset may not run."""
    if _permitted is not None and reference not in _permitted:
        raise DataError(
            f"dataset: {reference} is named by a file in storage and not by you, so that its code is not run; if it is yours, name it in "
            "the sweep file"
        )


@contextmanager
def running(code: Code) -> Iterator[None]:
    """While this is open, the working folder is the one where the command was typed, and modules beside the file are found."""
    beside = _beside(code.file.parent) if code.file else nullcontext()
    with _in(code.root), _on_path(code.root.absolute()), beside:
        yield


def imported(code: Code) -> ModuleType:
    """The dataset's module. Raises whatever the module raises; to be called inside `running`."""
    if code.file is None:
        module = importlib.import_module(code.place)
        _check_origin(module, code)
        return module
    if not code.root.is_dir():
        raise FileNotFoundError(
            f"there is no folder {code.root} on {platform.node()}, in which the command was typed; each machine needs it"
        )
    spec = importlib.util.spec_from_file_location(f"own_{code.file.stem}", code.file)
    if spec is None or spec.loader is None or not code.file.exists():
        raise FileNotFoundError(f"there is no file {code.file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in the user's file looks itself up there
    spec.loader.exec_module(module)
    return module


def where_raised(error: BaseException, code: Code) -> str:
    """Returns where in the user's own files an error was raised, such as ` at mine.py:12`; empty where none of them was running."""
    loaded = sys.modules.get(code.place)
    file = code.file or (Path(loaded.__file__) if loaded and loaded.__file__ else None)
    if file is None:
        return ""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [(path, line) for path, line in frames if _is_users(path, file.parent.resolve())]
    if not places:
        return ""
    path, line = places[-1]
    shown = path.relative_to(code.root.absolute()) if path.is_relative_to(code.root.absolute()) else path
    return f" at {shown}:{line}"


def _is_users(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder of the user's, and is neither ours nor in a library that lies there too."""
    path = path.resolve()
    if not path.is_relative_to(folder) or path.relative_to(folder).parts[0] in OURS:
        return False
    return not any(path.is_relative_to(library) and not folder.is_relative_to(library) for library in _libraries())


def _check_origin(module: ModuleType, code: Code) -> None:
    """Raise ImportError where another module of that name was loaded than the one in the folder where the command was typed."""
    path = (code.root / code.place.replace(".", "/")).absolute()
    there = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    if there and (module.__file__ is None or Path(module.__file__).resolve() not in [file.resolve() for file in there]):
        raise ImportError(
            f"another module of that name is loaded, from {module.__file__}, and not {there[0]}; rename one of them"
        )


def _in(folder: Path) -> AbstractContextManager[None]:
    """A worker on another machine may lack the folder: a module that is installed there does without."""
    return chdir(folder) if folder.is_dir() else nullcontext()


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """With modules that lie in a folder."""
    if str(folder) in sys.path:
        yield
        return
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # what lies there may have been written a moment ago
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """With the modules of a folder, and with no others of their names."""
    if folder in _open or folder in _libraries():
        yield
        return
    hidden = _taken(_names_of_others(folder))
    before = {_top(name) for name in list(sys.modules)}
    sys.modules.update(_kept.pop(folder, {}))
    _open.append(folder)
    sys.path.insert(0, str(folder))  # before all others, where it may stand once more
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _open.remove(folder)
        fresh = {_top(name) for name in list(sys.modules)} - before
        _kept[folder] = _taken({name for name in fresh if _is_from(sys.modules.get(name), folder)})
        sys.modules.update(hidden)


def _names_of_others(folder: Path) -> set[str]:
    """Names of modules in a folder under which modules from elsewhere are loaded. Python's own and ours keep their names."""
    there = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    loaded = (there & set(sys.modules)) - {*OURS, *sys.stdlib_module_names}
    return {name for name in loaded if not _is_from(sys.modules[name], folder)}


def _taken(tops: set[str]) -> dict[str, ModuleType]:
    """Take the modules of these top-level names, and what is below them, out of `sys.modules`."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if _top(name) in tops}


def _is_from(module: ModuleType | None, folder: Path) -> bool:
    """Whether a top-level module is a file or a package directly in a folder."""
    if module is None or module.__name__ in OURS:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return any(Path(path).parent == folder for path in getattr(module, "__path__", ()))
    path = Path(file)
    return folder in (path.parent, path.parent.parent if path.stem == "__init__" else path.parent)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _libraries() -> set[Path]:
    """Folders of installed packages: what lies there is everybody's."""
    return {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
