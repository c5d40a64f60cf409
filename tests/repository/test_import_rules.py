"""Who may import what, and what must answer before anything heavy has loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
ONLY_IN = {
    "ray": ("orchestrator/execution/ray_tune/",),
    "mlflow": ("orchestrator/tracking/mlflow/",),
    "optuna": ("orchestrator/search/",),
    "matplotlib": ("orchestrator/report/figures/", "orchestrator/report/paper/paper_figures.py"),
    "jinja2": ("orchestrator/report/page.py",),
}
"""The places that may import a large package; a folder ends in a slash."""
HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "scipy", "matplotlib", "numpy")


def imports(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_where_it_belongs_and_nowhere_else(package):
    """Ray, MLflow, Optuna, matplotlib and jinja2 each have their room."""
    files = [*ROOT.glob("orchestrator/**/*.py"), *ROOT.glob("mopoe_core/**/*.py")]
    importers = [path.relative_to(ROOT).as_posix() for path in files if package in imports(path)]
    assert importers
    assert all(name.startswith(ONLY_IN[package]) for name in importers), importers


def test_packages_import_only_those_below_them():
    """The layers that pyproject.toml names hold, and no import goes up: `lint-imports` finds no broken contract."""
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_the_core_knows_nothing_of_sweeps():
    """mopoe_core imports neither the orchestrator nor Ray, MLflow or Optuna."""
    for path in ROOT.glob("mopoe_core/**/*.py"):
        assert not imports(path) & {"orchestrator", "ray", "mlflow", "optuna", "matplotlib"}, path


@pytest.mark.parametrize("command", [["--help"], *([name, "sweeps/quickstart.yaml"] for name in ("plan", "status", "failures"))])
def test_light_commands_load_nothing_heavy(command, tmp_path):
    """--help, plan, status and failures finish without importing torch, Ray, MLflow, pandas or numpy."""
    code = (
        "import sys\nfrom orchestrator.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    storage = [] if command == ["--help"] else ["--storage", str(tmp_path / "none")]
    done = subprocess.run([sys.executable, "-c", code, *command, *storage], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert not (tmp_path / "none").exists()
