"""The command line for processes that this package starts itself: the native part alone, by its path."""

import importlib.machinery
import importlib.util
import os
import signal
import sys


def _load(folder: str):  # type: ignore[no-untyped-def]
    for ending in importlib.machinery.EXTENSION_SUFFIXES:
        path = os.path.join(folder, "_native" + ending)
        if os.path.exists(path):
            loader = importlib.machinery.ExtensionFileLoader("_native", path)
            spec = importlib.util.spec_from_file_location("_native", path, loader=loader)
            assert spec is not None
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
            return module
    raise SystemExit(f"error: the native part of querist is missing in {folder}; install the package again")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    # Ctrl-C is the native part's from here on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    native = _load(here)
    start = [sys.executable, "-S", "-E", "-s", os.path.abspath(__file__)]
    native.held_by(start, os.path.join(here, "plugins"), os.environ.get("QUERIST_TRAIN"))
    sys.exit(native.command(["querist", *sys.argv[1:]]))
