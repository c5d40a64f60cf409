"""Runs a user's own code: in the folder where the command was typed, with the modules that lie beside the dataset's file.

The file's folder is on Python's path only while code of that dataset runs. Afterwards the modules that were imported from it are taken
out of `sys.modules`. They are restored when code of the dataset runs again. So two datasets may each import their own `helpers.py`, and a
library never gets a user's `utils.py` in place of its own.

A program that reads other people's files runs only the datasets that its user named (`only_permitted`). A name in a record or a
checkpoint does not count, because somebody else may have written it.
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
    """The folder in which the command was typed. Relative names are looked for there."""

    @property
    def file(self) -> Path | None:
        """The absolute path of the file; None for a module. Raises ValueError if the name has a variable that is not set."""
        if not self.place.endswith(".py"):
            return None
        literal = self.root / self.place  # a file may have a dollar sign in its name
        # Only the path is expanded. The dataset's name, which is part of every identity, stays as the user wrote it.
        return (literal if literal.exists() else self.root / expand(self.place)).absolute()


@dataclass(frozen=True)
class Bound:
    """A user's function that makes a network. It is called inside `running(code)`."""

    code: Code
    make: Callable[[int], Any]

    def __call__(self, count: int) -> Any:
        """Returns what the user's function returns."""
        with running(self.code):
            return self.make(count)


_set_aside: dict[Path, dict[str, ModuleType]] = {}
"""By folder whose code does not run now, the modules that were imported from it."""
_running: list[Path] = []
"""The folders whose code runs now."""
_permitted: set[str] | None = None
"""The datasets whose code may run; None if any dataset's may."""


@contextmanager
def only_permitted() -> Iterator[None]:
    """Inside, only the code of datasets that are passed to `permit` may run, in every thread."""
    global _permitted
    before, _permitted = _permitted, set()
    try:
        yield
    finally:
        _permitted = before


def permit(references: Iterable[str]) -> None:
    """Lets the code of these datasets run, because the user named them."""
    if _permitted is not None:
        _permitted.update(references)


def check_permitted(reference: str) -> None:
    """Raises DataError if the code of this dataset may not run."""
    if _permitted is not None and reference not in _permitted:
        raise DataError(
            f"dataset: {reference} is named by a file in storage and not by you, so that its code is not run; if it is yours, name it in "
            "the sweep file"
        )


@contextmanager
def running(code: Code) -> Iterator[None]:
    """Inside, the working folder is the one where the command was typed, and modules beside the dataset's file can be imported."""
    modules_beside = _modules_of(code.file.parent) if code.file else nullcontext()
    with _working_folder(code.root), _on_path(code.root.absolute()), modules_beside:
        yield


def imported(code: Code) -> ModuleType:
    """Returns the dataset's module. To be called inside `running`. Raises whatever the module raises."""
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
    """Returns where in the user's own files an error was raised, such as ` at mine.py:12`; empty if none of them was running."""
    loaded = sys.modules.get(code.place)
    file = code.file or (Path(loaded.__file__) if loaded and loaded.__file__ else None)
    if file is None:
        return ""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [(path, line) for path, line in frames if _is_users(path, file.parent.resolve())]
    if not places:
        return ""
    path, line = places[-1]
    shown_path = path.relative_to(code.root.absolute()) if path.is_relative_to(code.root.absolute()) else path
    return f" at {shown_path}:{line}"


def _is_users(path: Path, folder: Path) -> bool:
    """Whether a file is the user's: in the user's folder, and neither in our packages nor in a library that lies in that folder."""
    path = path.resolve()
    if not path.is_relative_to(folder) or path.relative_to(folder).parts[0] in OURS:
        return False
    return not any(path.is_relative_to(library) and not folder.is_relative_to(library) for library in _libraries())


def _check_origin(module: ModuleType, code: Code) -> None:
    """Raises ImportError if the folder where the command was typed has a module of that name, and another one was loaded."""
    path = (code.root / code.place.replace(".", "/")).absolute()
    files = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    if files and (module.__file__ is None or Path(module.__file__).resolve() not in [file.resolve() for file in files]):
        raise ImportError(
            f"another module of that name is loaded, from {module.__file__}, and not {files[0]}; rename one of them"
        )


def _working_folder(folder: Path) -> AbstractContextManager[None]:
    """Inside, the folder is the working folder. Does nothing if another machine lacks it: an installed module needs no such folder."""
    return chdir(folder) if folder.is_dir() else nullcontext()


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Inside, modules in a folder can be imported."""
    if str(folder) in sys.path:
        yield
        return
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # a module may have been written a moment ago
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _modules_of(folder: Path) -> Iterator[None]:
    """Inside, the modules of a folder can be imported, and no loaded module of another folder has one of their names."""
    if folder in _running or folder in _libraries():
        yield
        return
    hidden = _take_out(_names_of_others(folder))
    before = {_top_level(name) for name in list(sys.modules)}
    sys.modules.update(_set_aside.pop(folder, {}))
    _running.append(folder)
    sys.path.insert(0, str(folder))  # first, even if it is on the path already
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _running.remove(folder)
        new_names = {_top_level(name) for name in list(sys.modules)} - before
        _set_aside[folder] = _take_out({name for name in new_names if _is_from(sys.modules.get(name), folder)})
        sys.modules.update(hidden)


def _names_of_others(folder: Path) -> set[str]:
    """Returns the names of modules in a folder under which another folder's module is loaded, except Python's own and ours."""
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    loaded = (names & set(sys.modules)) - {*OURS, *sys.stdlib_module_names}
    return {name for name in loaded if not _is_from(sys.modules[name], folder)}


def _take_out(top_level_names: set[str]) -> dict[str, ModuleType]:
    """Removes the modules with these top-level names, and their submodules, from `sys.modules`, and returns them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if _top_level(name) in top_level_names}


def _is_from(module: ModuleType | None, folder: Path) -> bool:
    """Whether a top-level module is a file or a package directly in a folder."""
    if module is None or module.__name__ in OURS:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return any(Path(path).parent == folder for path in getattr(module, "__path__", ()))
    path = Path(file)
    return folder in (path.parent, path.parent.parent if path.stem == "__init__" else path.parent)


def _top_level(name: str) -> str:
    return name.partition(".")[0]


def _libraries() -> set[Path]:
    """Returns the folders of installed packages."""
    return {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
