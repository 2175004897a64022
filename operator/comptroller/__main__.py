"""`python -m comptroller` is the same as the console command."""

from comptroller.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
