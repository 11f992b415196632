"""`python -m upseg` is `upseg`."""

from upseg.cli import main

if __name__ == "__main__":
    main()
