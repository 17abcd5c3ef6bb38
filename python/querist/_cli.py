"""The command line `querist`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Runs the command line with the arguments of this process, and ends it with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C is the native part's: it stops at the next safe point where there is one, and at once where not.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from . import _host

    sys.exit(_host.native.command(["querist", *sys.argv[1:]]))
