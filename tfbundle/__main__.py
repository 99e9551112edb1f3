"""The command ``tfbundle``, also as ``python -m tfbundle``."""

from __future__ import annotations

import sys

_EXTRA = ("click", "rich")


def main() -> None:
    """Run the command; without its libraries, print what to install."""
    try:
        from tfbundle.cli.main import cli

        cli()
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        print(f"tfbundle: the command needs {package}; pip install 'tfbundle[cli]'", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
