#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox"]
# ///
"""Tasks of a developer: ``nox`` runs lint and tests; ``nox -l`` lists all."""

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and the direction of imports."""
    session.install(".", "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, with TensorFlow as the oracle."""
    session.install("-e", ".[test]")
    # Keras 2 asks for the package tensorflow, which has the same modules as tensorflow-cpu.
    session.install("--no-deps", "tf_keras>=2.16")
    session.run("pytest", "-q", "-n", "auto", *session.posargs)


@nox.session(python=PYTHONS, default=False)
def without_tensorflow(session: nox.Session) -> None:
    """Run the tests without TensorFlow, with the oldest dependencies that are supported."""
    session.install("-c", ".ci/oldest.txt", ".[cli,safetensors]", "pytest>=9", "pytest-xdist>=3.6", "hypothesis>=6.100")
    session.run("pytest", "-q", "-n", "auto", *session.posargs)


@nox.session(python="3.12", default=False)
def bindings(session: nox.Session) -> None:
    """Make the protobuf bindings from the schemas, or with ``-- --check`` compare them."""
    session.install(".", "--group", "bindings")
    session.run("python", "tools/bindings.py", *session.posargs)


@nox.session(python="3.12", default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz each reader for a minute, or as long as ``-- --seconds N`` says."""
    session.install("-e", ".[cli]", "--group", "fuzz")
    session.run("python", "tools/fuzz/run.py", *(session.posargs or ["--seconds", "60"]))


@nox.session(python="3.12", default=False)
def docs(session: nox.Session) -> None:
    """Build the site into ``build/site``, without a warning."""
    session.install(".", "--group", "docs")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "build/site", *session.posargs)


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the source archive and the wheel, and check both; ``-- --python python3.10 ...`` installs the wheel."""
    session.install("--group", "packages")
    session.run("python", "tools/packages.py", *session.posargs)


if __name__ == "__main__":
    nox.main()
