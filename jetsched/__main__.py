"""`python -m jetsched` is the `jetsched` command."""

from jetsched.cli import main

main()
