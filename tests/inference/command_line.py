"""The command line with the test methods: `python -m tests.inference.command_line segment ...`."""

from tests.inference.segmenters import register
from upseg.cli import main

if __name__ == "__main__":
    register()
    main()
