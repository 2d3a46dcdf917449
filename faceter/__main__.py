"""``python -m faceter``: the same as the ``faceter`` command."""

from faceter.cli.main import main

if __name__ == "__main__":
    main()
