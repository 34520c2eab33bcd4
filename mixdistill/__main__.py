"""`python -m mixdistill` is the command `mixdistill`."""

from mixdistill.cli import main

main()
