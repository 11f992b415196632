"""The command line with the test methods: `python -m tests.batch.command_line segment ...`."""

from tests.batch.segmenters import register
from upseg.cli import main

if __name__ == "__main__":
    register()
    main()
