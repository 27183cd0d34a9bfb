"""`python -m cxrdata` is the command `cxrdata`."""

from cxrdata.cli import main

if __name__ == "__main__":
    main()
