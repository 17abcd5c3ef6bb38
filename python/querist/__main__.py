"""`python -m querist` is the command line."""

from ._cli import main

main()
