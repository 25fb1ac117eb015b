"""Pages of the tutorials: percent scripts that are executed while the site is built.

They become Markdown, so that mkdocs checks their links and the theme draws them; mkdocs-jupyter
does neither, and its pages fetch MathJax from another host.

All run in one temporary folder, in which `model/` leads to the bundle that mkdocs.yml names. Where
there is none, tutorials that load it are shown without output, and the page says so.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).parents[2]
LOG = logging.getLogger("mkdocs.hooks.tutorials")
_WRITTEN = re.compile(
    r"\w+ = ('{3}|\"{3})\n(.*)\1\nPath\(\"([\w.]+)\"\)\.write_text\([^\n]*\)\n?(.*)", re.DOTALL
)
_SECONDS = 600  # the longest that one cell may take
_NOT_EXECUTED = (
    '!!! note "Not executed"\n\n'
    "    This page was built without a trained model: run `make demo` first, then `make docs`.\n"
)
# Progress and warnings go to standard error, and are no part of a page.
_SET_UP = "%matplotlib inline\n%config InlineBackend.figure_formats = ['png']"


def on_files(files: Any, config: Any) -> Any:
    """Add a page and its figures for each script in `docs/tutorials`."""
    model = ROOT / config.extra["model"]
    with tempfile.TemporaryDirectory() as folder:
        if model.is_dir():
            Path(folder, "model").symlink_to(model.resolve())
        for script in sorted((ROOT / "docs" / "tutorials").glob("*.py")):
            for uri, content in _pages(script, Path(folder), model).items():
                files.append(File.generated(config, f"tutorials/{uri}", content=content))
    return files


def _pages(script: Path, folder: Path, model: Path) -> dict[str, str | bytes]:
    """Return the page of a tutorial and its figures, by name."""
    notebook = jupytext.read(script)
    executed = model.is_dir() or "slams.load(" not in script.read_text()
    if executed:
        _execute(notebook, folder, script)
    else:
        LOG.info("%s is not executed: there is no model at %s", script.name, model)
    _show_files(notebook)
    body, figures = _markdown(notebook, script.stem)
    if not executed:
        title, _, rest = body.partition("\n")
        body = f"{title}\n\n{_NOT_EXECUTED}\n{rest}"
    return {f"{script.stem}.md": body.replace(f"{folder}/", ""), **figures}


def _execute(notebook: NotebookNode, folder: Path, script: Path) -> None:
    """Execute a notebook in a folder; its first cell is one of ours, and is taken out again."""
    LOG.info("executing %s", script.name)
    notebook.cells.insert(0, new_code_cell(_SET_UP))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    place = {"metadata": {"path": str(folder)}}
    try:
        client = NotebookClient(notebook, timeout=_SECONDS, resources=place)
        client.execute(stderr=subprocess.DEVNULL)  # of the kernel itself: notes on its ports
    except CellExecutionError as error:
        raise PluginError(f"{script}: {error}") from None
    del notebook.cells[0]
    for cell in notebook.cells:
        if "outputs" in cell:
            cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr"]
            for output in cell["outputs"]:
                _choose_form(output.get("data", {}))
            _join_prints(cell["outputs"])


def _choose_form(data: dict[str, str]) -> None:
    """Keep one form of what a cell shows: a table as one of the page, anything else as text."""
    table = re.search(r"<table.*</table>", data.pop("text/html", ""), re.DOTALL)
    if table and 'class="dataframe"' in table[0]:
        data.pop("text/plain", None)
        data["text/html"] = re.sub(r' (border|class|style)="[^"]*"', "", table[0])


def _join_prints(outputs: list[dict[str, Any]]) -> None:
    """Make one block of lines that were printed one after the other."""
    for place in range(len(outputs) - 1, 0, -1):
        before, after = outputs[place - 1], outputs[place]
        if before["output_type"] == after["output_type"] == "stream":
            before["text"] += outputs.pop(place)["text"]


def _show_files(notebook: NotebookNode) -> None:
    """Show text that a cell writes into a file as that file."""
    cells = []
    for cell in notebook.cells:
        found = _WRITTEN.fullmatch(cell.source)
        if found:
            language = {".py": "python", ".yaml": "yaml"}[Path(found[3]).suffix]
            fence = f'```{language} title="{found[3]}"\n{found[2].strip()}\n```'
            cells.append(new_markdown_cell(fence))
            cell.source = found[4]
        if cell.source:
            cells.append(cell)
    notebook.cells = cells


def _markdown(notebook: NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """Return the page of a notebook, and its figures by name."""
    exporter = MarkdownExporter()
    resources = {"unique_key": name, "output_files_dir": f"{name}_files"}
    body, resources = exporter.from_notebook_node(notebook, resources=resources)
    return body, dict(resources.get("outputs", {}))
