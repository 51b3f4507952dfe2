"""Runs cells in a fresh kernel, in a process of its own: the client library leaves sockets and threads behind.

As a script: reads a JSON list of cells from the file named by its argument, writes the list of what they show there.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

LIMIT = 60  # seconds for one cell


def main(path: Path) -> None:
    """Replace the cells in the file by what they have shown on standard output, and as their value."""
    warnings.simplefilter("ignore")  # jupyter_client and zmq warn of each other
    cells = json.loads(path.read_text())
    path.write_text(json.dumps(_execute(cells, path.parent)))


def _execute(cells: list[str], folder: Path) -> list[str]:
    nbformat: Any = importlib.import_module("nbformat.v4")
    nbclient: Any = importlib.import_module("nbclient")
    notebook = nbformat.new_notebook(cells=[nbformat.new_code_cell(cell) for cell in cells])
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=LIMIT, km=_manager(folder), resources=where).execute()
    return [_shown(cell) for cell in notebook.cells]


def _manager(folder: Path) -> Any:
    """Start kernels with this interpreter, whether or not a kernel spec is installed for it."""
    manager: Any = importlib.import_module("jupyter_client.manager").AsyncKernelManager()
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.connection_file = str(folder / "kernel.json")  # else one is left in the folder for temporary files
    return manager


def _shown(cell: Any) -> str:
    streams = [output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"]
    results = [output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
    return "".join(streams + results).strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
