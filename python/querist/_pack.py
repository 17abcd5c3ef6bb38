"""`querist.pack`: a strategy that is a class in this process, as a sandboxed package."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from . import _host
from ._errors import QueristError, UsageError
from ._own import Hosted, Own, source_of

#: What makes components, of the version that the template pins: later ones import what the sandbox refuses.
_COMPILER = ("componentize-py", "0.17.2")


def pack(strategy: Own, folder: str | os.PathLike[str]) -> Path:
    """Makes a sandboxed package of a strategy that is a class in this process.

    `folder` becomes the project that `querist plugin new --lang python` writes, with the source of the class in the
    place of the example; `querist plugin build` makes its package again. The class stands in a file of its own, which
    imports `wit_world` and what Python brings: a component has nothing else.

    Args:
        strategy: The class, derived from `wit_world.exports.Strategies`.
        folder: The project's folder, which is made; it must not be there, or be empty.

    Returns:
        The package's folder, which `plugin_dir=` of its parent and `querist plugin install` take.

    Raises:
        UsageError: If `componentize-py` is missing, the class has no file of its own, or the folder is occupied.
        QueristError: If the component cannot be made; the message has what its compiler says.
    """
    compiler = _compiler()
    hosted = Hosted(strategy)
    kind: type = strategy if isinstance(strategy, type) else type(strategy)
    text = _source(kind)
    name, project = str(hosted.native.package()), Path(folder)
    _querist("plugin", "new", name, "--lang", "python", "--out", str(project))
    file = project / f"{name.replace('-', '_')}.py"
    file.write_text(text if kind.__name__ == "Strategies" else f"{text}\n\nStrategies = {kind.__name__}\n")
    _querist("plugin", "build", str(project), COMPONENTIZE_PY=compiler)
    return project / "plugins" / name


def _source(kind: type) -> str:
    """The text of the file that a class stands in."""
    source, text = source_of(kind)
    shown = kind.__qualname__
    if kind.__module__ == "__main__" or not source.endswith(".py") or not os.path.isfile(source):
        raise UsageError(f"`{shown}` stands in a program or a notebook: write it into a file of its own, and import that")
    if "." in shown:
        raise UsageError(f"`{shown}` stands within something else: write it at the top of its file")
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if node.level == 0 else ["."]
        for name in names:
            top = name.split(".")[0]
            if top != "wit_world" and top not in sys.stdlib_module_names:
                raise UsageError(
                    f"{source}, line {getattr(node, 'lineno', 0)}: `{name}` is imported, which a component has not; "
                    "expected `wit_world` and modules that Python brings"
                )
    return text


def _compiler() -> str:
    """Where the compiler of components is."""
    name, version = _COMPILER
    try:
        found: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = None
    program = Path(sys.executable).with_name(name)
    if found != version or not program.is_file():
        there = f"version {found} of {name} is here" if found is not None else f"{name} is not here"
        raise UsageError(f"{there}; `pip install {name}=={version}` brings what makes a component")
    return str(program)


def _querist(*words: str, **environment: str) -> None:
    """Runs a verb of the command line."""
    said = subprocess.run(
        [*_host.start, *words], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    if said.returncode != 0:
        message = (said.stderr or said.stdout).strip()
        raise (UsageError if said.returncode == 2 else QueristError)(f"`querist {' '.join(words[:2])}`: {message}")
