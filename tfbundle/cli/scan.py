"""``tfbundle scan``: what graphs and models could do to the machine that loads or calls them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.choices import refusals
from tfbundle.cli.completion import PATH
from tfbundle.cli.findings import brief, common_folder
from tfbundle.cli.output import print_json, print_line, print_table
from tfbundle.printable import count_of, escape_name, one_line

if TYPE_CHECKING:
    from tfbundle.scanning.report import ScanFinding, ScanReport

_SEVERITIES = ("info", "low", "medium", "high", "critical")
_NOT_COMPLETE = 2
# Findings and files beyond these are in --json.
_MOST_ROWS = 100
_MOST_NAMED = 20
_WIDEST = 60
_WHEN = {"load": "load", "call": "call", "unreachable": "-"}


@click.command(short_help="Report what a model could do when loaded or called.")
@path_argument
@json_option
@click.option(
    "--format", "style", type=click.Choice(["table", "json", "sarif"]), help="What to print.  [default: table]"
)
@click.option(
    "--threshold",
    type=click.Choice(_SEVERITIES),
    help="Accept findings up to this severity.  [default: info]",
)
@click.option("--policy", "policy_path", type=PATH, help="A JSON file that allows findings.")
@click.option("--baseline", "baseline_path", type=PATH, help="A JSON file of known findings, which are not reported.")
@click.option("--write-baseline", "new_baseline", type=PATH, help="Write all findings to a baseline, and exit with 0.")
def command(
    path: str,
    as_json: bool,
    style: str | None,
    threshold: str | None,
    policy_path: str | None,
    baseline_path: str | None,
    new_baseline: str | None,
) -> None:
    """Report what the graphs and models at PATH could do when loaded or called, without running anything.

    PATH is a SavedModel, a graph (.pb, .pbtxt, .meta), an event file, a Keras model (.keras, .h5), a zip or tar archive
    of these, which is read in memory, or a folder, which is scanned with its subfolders.

    A finding is an op that reads, writes or lists files, uses the network, or runs Python, compiled code or a program
    in data. It states when the op runs, and its argument. Savers, assets and other things that ordinary models contain
    are not findings.

    The exit status is 0 if nothing is above the threshold, 1 if something is, and 2 if not everything could be read.
    """
    import tfbundle
    from tfbundle.scanning.policy import Policy, load_baseline, load_policy, not_in_baseline

    if as_json and style not in (None, "json"):
        raise click.UsageError("--json and --format contradict each other")
    policy = load_policy(policy_path) if policy_path else Policy()
    baseline = load_baseline(baseline_path) if baseline_path else None
    if new_baseline is not None:
        _check_baseline(new_baseline, path)
    report = tfbundle.scan(path)
    if new_baseline is not None:
        _write_baseline(report, new_baseline)
    reasons = [policy.reason(finding) for finding in report.findings]
    new = None if baseline is None else not_in_baseline(report, baseline)
    accepted = threshold or policy.threshold or _SEVERITIES[0]
    failing = _failing(report, reasons, new, accepted)
    if as_json or style == "json":
        print_json(_document(report, reasons, new, accepted, failing))
    elif style == "sarif":
        from tfbundle.cli.sarif import sarif_document

        print_line(json.dumps(sarif_document(report, reasons, new)))
    else:
        _print(report, reasons, new, failing)
    if not report.complete:
        raise click.exceptions.Exit(_NOT_COMPLETE)
    if failing and new_baseline is None:
        raise click.exceptions.Exit(1)


def _failing(report: ScanReport, reasons: list[str | None], new: list[bool] | None, accepted: str) -> list[ScanFinding]:
    above = set(map(id, report.above(accepted)))
    return [
        finding
        for number, finding in enumerate(report.findings)
        if id(finding) in above and reasons[number] is None and (new is None or new[number])
    ]


def _check_baseline(path: str, source: str) -> None:
    """Raise a usage error if the baseline would replace a file of a model, or be taken for one."""
    from tfbundle.checkpoint.find.owned import check_output
    from tfbundle.storage.locations import locate

    with refusals():
        check_output(locate(path), overwrite=None, sources=[locate(source)])


def _write_baseline(report: ScanReport, path: str) -> None:
    from tfbundle.scanning.policy import baseline_text
    from tfbundle.storage.replacing import replacement

    with replacement(path) as file:
        file.write(baseline_text(report).encode())


def _document(
    report: ScanReport, reasons: list[str | None], new: list[bool] | None, accepted: str, failing: list[ScanFinding]
) -> dict[str, Any]:
    findings = [
        {**asdict(finding), "allowed": reasons[number], "new": None if new is None else new[number]}
        for number, finding in enumerate(report.findings)
    ]
    return {
        "ok": not failing and report.complete,
        "path": report.path,
        "complete": report.complete,
        "threshold": accepted,
        "findings": findings,
        "counts": report.counts,
        "not_scanned": [note._asdict() for note in report.not_scanned],
        "files": report.files,
        "nodes": report.nodes,
        "ignored": report.ignored,
    }


def _print(report: ScanReport, reasons: list[str | None], new: list[bool] | None, failing: list[ScanFinding]) -> None:
    folder = common_folder([*report.files, *(finding.path for finding in report.findings)])
    shown = [
        finding
        for number, finding in enumerate(report.findings)
        if reasons[number] is None and (new is None or new[number])
    ]
    if shown:
        rows = [_row(finding, folder) for finding in shown[:_MOST_ROWS]]
        print_table(("severity", "what", "runs on", "acts on", "where"), rows)
        if len(shown) > _MOST_ROWS:
            print_line(f"and {count_of(len(shown) - _MOST_ROWS, 'other finding')}, which --json lists")
        print_line()
        _print_rules(shown)
    for note in report.not_scanned[:_MOST_NAMED]:
        print_line(f"not scanned: {brief(note.path, folder)}: {brief(note.reason, folder)}")
    if len(report.not_scanned) > _MOST_NAMED:
        print_line(f"not scanned: {count_of(len(report.not_scanned) - _MOST_NAMED, 'other')}, which --json lists")
    hidden = len(report.findings) - len(shown)
    if hidden:
        print_line(f"{count_of(hidden, 'finding')} allowed by the policy, or of the baseline")
    counts = [f"{number:,} {severity}" for severity, number in reversed(report.counts.items()) if number]
    state = ", ".join(counts) or "no findings"
    scanned = f"{count_of(len(report.files), 'file')}, {count_of(report.nodes, 'node')}"
    end = "" if report.complete else "; NOT COMPLETE, so nothing is known of the rest"
    print_line(f"{one_line(report.path)}: {state} in {scanned}{end}")


def _row(finding: ScanFinding, folder: str) -> tuple[str, ...]:
    argument = escape_name(finding.argument) if finding.argument is not None else "-"
    if len(argument) > _WIDEST:
        argument = f"{argument[:_WIDEST]}..."
    place = [brief(finding.path, folder)]
    place += [escape_name(name) for name in (*finding.within, finding.function, finding.node) if name is not None]
    return (
        finding.severity,
        f"{finding.rule} ({escape_name(finding.op)})" if finding.op else finding.rule,
        _WHEN[finding.trigger],
        argument,
        " > ".join(place),
    )


def _print_rules(findings: list[ScanFinding]) -> None:
    """Print what each rule means that was found, once, and what to do."""
    from tfbundle.scanning.rules import RULES

    for name in dict.fromkeys(finding.rule for finding in findings if finding.severity != "info"):
        print_line(f"{name}: {RULES[name].description} {RULES[name].advice}")
