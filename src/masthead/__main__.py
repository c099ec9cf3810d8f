"""`python -m masthead`: the same as the command `masthead`."""

from masthead.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
