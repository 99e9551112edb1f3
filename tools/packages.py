"""Build the source archive and the wheel twice, compare the two builds, and check what is in them.

    python tools/packages.py [--out FOLDER] [--python INTERPRETER ...]

Each interpreter named gets a fresh environment, in which the wheel is installed and reads a fixture. Needs the
dependency group ``packages``. The exit status is 1 if the builds differ or a check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PREFIX = ROOT / "fixtures" / "tf-1.15.5" / "training"


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the packages of tfbundle and check them.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", nargs="*", default=[], metavar="INTERPRETER")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        second = build(Path(scratch) / "again")
        first = {name: digest for name, digest in build(arguments.out).items() if name in second}
        if first != second:
            print(f"the packages are not reproducible: {first} and {second}")
            return 1
        packages = [str(arguments.out / name) for name in first]
        subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *packages], check=True)
        wheel = next(package for package in packages if package.endswith(".whl"))
        subprocess.run([sys.executable, "-m", "check_wheel_contents", wheel], check=True)
        for number, interpreter in enumerate(arguments.python):
            install(interpreter, wheel, Path(scratch) / str(number))
    return 0


def build(out: Path) -> dict[str, str]:
    """Build both packages into a folder; return their SHA-256 by file name."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    files = sorted(path for path in out.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def install(interpreter: str, wheel: str, folder: Path) -> None:
    """Install the wheel with its command in a fresh environment, and list a checkpoint with it."""
    subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{wheel}[cli]"], check=True)
    done = subprocess.run(
        [str(programs / "tfbundle"), "ls", str(_PREFIX)], cwd=folder, capture_output=True, text=True, check=True
    )
    print(f"{interpreter}: {done.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    sys.exit(main())
