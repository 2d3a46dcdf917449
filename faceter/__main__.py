"""The ``faceter`` command, also as ``python -m faceter``."""

import sys


def main() -> None:
    """Run the command line, or say what to install for it; the client alone has less than it needs."""
    try:
        from faceter.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "app", "faceter", "workers"):
            raise
        print(
            f"faceter: This needs the package {package!r}, which is not installed. "
            "Install the service: pip install 'faceter[server,worker]'. "
            "For export-torch: pip install 'faceter[export]'",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
