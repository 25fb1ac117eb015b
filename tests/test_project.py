"""The project's own files: they are consistent and name no machine."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import slams

ROOT = Path(__file__).parents[1]
# What conda-forge calls otherwise; names are compared without case.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "netcdf4": "netcdf4"}
TARGETS = [
    "install",
    "demo",
    "test",
    "lint",
    "prepare",
    "train-vae",
    "train-score",
    "assimilate",
    "report",
    "mlflow-ui",
    "simulate",
]


def requirement(text: str) -> tuple[str, frozenset[str]]:
    """Split `dask[array]>=2025.1` into a lower-case name and a set of bounds."""
    name, bounds = re.fullmatch(r"([A-Za-z0-9_-]+)(?:\[\w+\])?\s*(.*)", text).groups()
    return name.lower(), frozenset(bounds.replace(" ", "").split(",")) - {""}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_environment_and_project_agree(project: dict) -> None:
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["test"], *extras["dev"]]
    expected = dict(requirement(text) for text in wanted)
    expected["python"] = frozenset([project["project"]["requires-python"]])
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    found = dict(requirement(e) for e in entries if isinstance(e, str) and e != "pip")
    conda = {conda: name for name, conda in CONDA.items()}
    found = {conda.get(name, name): bounds for name, bounds in found.items()}
    assert "-e ." in pip
    found |= dict(requirement(entry) for entry in pip if entry != "-e .")
    assert found == expected


def test_every_bound_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    bounded = [
        line.strip()
        for line in text.splitlines()
        if re.match(r'\s+"[A-Za-z0-9_-]+(\[\w+\])?[<>=]', line)
    ]
    assert len(bounded) >= 20
    assert [line for line in bounded if not re.search(r'",?\s+# .{10,}', line)] == []


def test_malicious_releases_of_lightning_are_out(project: dict) -> None:
    bounds = dict(requirement(text) for text in project["project"]["dependencies"])
    assert bounds["lightning"] == {">=2.6.4", "<3"}
    assert bounds["azula"] == {">=0.11.1", "<0.12"}


def test_constraints_pin_a_pair_that_belongs_together() -> None:
    lines = (ROOT / "constraints" / "cpu.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    torch, vision = (tuple(map(int, pins[n].split("."))) for n in ("torch", "torchvision"))
    # torchvision 0.(15 + n) belongs to torch 2.n.
    assert (vision[0], vision[1] - 15, vision[2]) == (torch[0] - 2, torch[1], torch[2])


def test_version_is_told_once(project: dict) -> None:
    assert "dynamic" not in project["project"]
    version = project["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version == slams.__version__
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    assert not [text for text in sources if f'"{version}"' in text]
    assert citation["license"] == project["project"]["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def rooms(package: Path) -> tuple[list[str], list[str]]:
    """List the modules at the root of a package, and its folders."""
    modules = [p.stem for p in package.glob("*.py")]
    return sorted(modules), sorted(p.parent.name for p in package.glob("*/__init__.py"))


@pytest.mark.parametrize("package", ["src/slams", "data_modules"])
def test_every_room_has_its_place_among_the_layers(project: dict, package: str) -> None:
    """A package that is in no contract could import anything."""
    modules, folders = rooms(ROOT / package)
    assert len(modules) <= 8
    name = Path(package).name
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(
        c["layers"]
        for c in contracts
        if c["type"] == "layers" and any(layer.startswith(f"{name}.") for layer in c["layers"])
    )
    placed = {one for layer in layers for one in re.split(r" [|:] ", layer)}
    named = {f"{name}.{room}" for room in (*modules, *folders)} - {f"{name}.__init__"}
    assert named <= placed


def test_the_whole_recipe_is_opened_in_stages_and_above() -> None:
    """Packages below take their own section, or plain arguments."""
    above = {"benchmarks", "cli", "config", "slurm", "stages", "sweeps"}
    for path in (*(ROOT / "src" / "slams").rglob("*.py"), *(ROOT / "data_modules").rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        room = parts[2] if parts[0] == "src" else parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("slams.config"):
                names = {alias.name for alias in node.names}
                assert "Config" not in names or room in above, path


def test_tests_mirror_the_rooms() -> None:
    for package, tests in (("src/slams", "tests"), ("data_modules", "tests/data_modules")):
        _, folders = rooms(ROOT / package)
        without = {"methods", "sample"}  # data, tested where they are read
        missing = [f for f in folders if f not in without and not (ROOT / tests / f).is_dir()]
        assert missing == []


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys; import slams;"
        "print(len([name for name in sys.modules if name.split('.')[0] == 'slams']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "1\n"
    assert slams.load.__module__ == "slams.api"
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = slams.laod


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  ([a-z-]+) +\S", done.stdout, flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    defined = re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, flags=re.MULTILINE)
    assert listed == defined
    assert set(TARGETS) <= set(listed)


@pytest.mark.parametrize("target", ["prepare", "train-vae", "assimilate", "report"])
def test_targets_pass_recipe_and_overrides(target: str) -> None:
    command = ["make", "-n", target, "CONFIG=mine.yaml", "ARGS=seed=3 resume=overwrite"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    verb = target.replace("-", " ")
    assert f"slams {verb} mine.yaml seed=3 resume=overwrite" in done.stdout


def test_readme_opens_with_the_two_commands() -> None:
    head = (ROOT / "README.md").read_text().splitlines()[:20]
    assert any(line.startswith("make demo") for line in head)
    assert any(line.startswith("make test") for line in head)


def test_no_machine_and_no_secret_place_is_named() -> None:
    # Homes, mounts and workplaces; what a container image or a registry is called.
    machine = re.compile(r"/(?:home|root|Users|mnt|opt|work)/[A-Za-z]|file:///|\.pyenv")
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if machine.search(line) and path != Path(__file__):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def tracked() -> list[Path]:
    """Text files under version control, or all of the source where there is no git."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = done.stdout.split("\0") if done.returncode == 0 else map(str, ROOT.rglob("*"))
    suffixes = {".py", ".yaml", ".yml", ".toml", ".md", ".txt", ".cff", ".sbatch", ""}
    paths = [ROOT / name for name in names if name and "sample" not in Path(name).parts]
    return [p for p in paths if p.is_file() and p.suffix in suffixes]
