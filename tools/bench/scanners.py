"""Compare what scanners of models find in the fixtures: tfbundle scan, ModelScan and modelaudit.

    python tools/bench/scanners.py --modelscan PYTHON --modelaudit PYTHON

PYTHON is the interpreter of an environment with that scanner (ModelScan needs TensorFlow beside it); without one its
column is left out. An op of a fixture counts as found where a scanner reports a problem that names it, and a file where
it reports any. In an ordinary model each problem is a false alarm. What a scanner reports as mere information is none.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
ORDINARY = [
    "tf-1.2.1/saved-model-of-two/model",
    "tf-1.15.5/saved-model-of-two/model",
    "tf-1.15.5/saved-model-as-text/model",
    "tf-2.4.4/saved-model-with-asset/model",
    "tf-2.4.4/keras-saved-model/model",
    "tf-2.15.1/keras-saved-model/model",
    "tf-2.21.0/saved-model-with-asset/model",
    "tf-2.21.0/keras-saved-model/model",
    "tf-1.15.5/frozen/frozen.pb",
    "tf-2.21.0/graph-with-functions/graph.pb",
]

# Each prints a line of JSON for each line of its input, a path: the texts of what it reports.
DRIVERS = {
    "tfbundle": """
import json, sys, tfbundle
for line in sys.stdin:
    report = tfbundle.scan(line.strip())
    print(json.dumps([f"{f.op} {f.message}" for f in report.above("info")] + [n.reason for n in report.not_scanned]))
""",
    "modelscan": """
import contextlib, json, os, sys
from modelscan.modelscan import ModelScan
for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        found = ModelScan().scan(line.strip())["issues"]
    print(json.dumps([json.dumps(issue) for issue in found]))
""",
    "modelaudit": """
import contextlib, json, sys
from modelaudit.core import scan_model_directory_or_file
for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        found = scan_model_directory_or_file(line.strip()).issues
    kept = [issue for issue in found if getattr(issue.severity, "value", issue.severity) in ("critical", "warning")]
    print(json.dumps([issue.message for issue in kept]))
""",
}


def cases():
    """Yield each path with the ops that a scanner has to name; ``None`` stands for any report."""
    for file in sorted(FIXTURES.glob("programs-*/*/EXPECTED.json")):
        for program in json.loads(file.read_text(encoding="utf-8"))["programs"]:
            ops = [item["op"] for item in program["findings"]] or ([] if program["complete"] else [None])
            yield file.parent / program["path"], ops
    for name in ORDINARY:
        yield FIXTURES / name, []


def reports(name, python, paths):
    """Return what a scanner reports about each path."""
    text = "".join(f"{path}\n" for path in paths)
    done = subprocess.run([python, "-c", DRIVERS[name]], input=text, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    if len(lines) != len(paths):
        sys.exit(f"{name} answered {len(lines)} of {len(paths)} paths: {done.stderr[-2000:]}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modelscan", metavar="PYTHON")
    parser.add_argument("--modelaudit", metavar="PYTHON")
    options = parser.parse_args()
    listed = list(cases())
    pythons = {"tfbundle": sys.executable, "modelscan": options.modelscan, "modelaudit": options.modelaudit}
    found = {name: reports(name, python, [path for path, _ in listed]) for name, python in pythons.items() if python}
    print("| fixture |", " | ".join(found), "|")
    print("|---|" + "---|" * len(found))
    totals = {name: [0, 0, 0] for name in found}
    for number, (path, ops) in enumerate(listed):
        cells = []
        for name, answers in found.items():
            texts = answers[number]
            hits = sum(any(op is None or op in text for text in texts) for op in ops)
            totals[name][0] += hits
            totals[name][1] += len(ops) - hits
            totals[name][2] += not ops and bool(texts)
            cells.append(f"{hits} of {len(ops)}" if ops else "false alarm" if texts else "silent")
        print(f"| {path.relative_to(FIXTURES).as_posix()} |", " | ".join(cells), "|")
    ordinary = sum(not ops for _, ops in listed)
    summary = [
        f"{hits} found, {missed} missed, {alarms} of {ordinary} false alarms"
        for hits, missed, alarms in totals.values()
    ]
    print("| all |", " | ".join(summary), "|")


if __name__ == "__main__":
    main()
