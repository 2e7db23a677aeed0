"""`python -m dmt` and `torchrun -m dmt` are the command."""

from dmt.cli import main

if __name__ == "__main__":
    main()
