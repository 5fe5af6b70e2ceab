"""Write the tables of README.md from the results committed under benchmarks/results.

``homfast bench KIND --json benchmarks/results/NAME.json`` (and ``homfast recover --json``) make the
files; ``python benchmarks/report.py`` rewrites what stands between ``<!-- begin: KIND -->`` and
``<!-- end: KIND -->``; with ``--check`` it writes nothing and fails if README.md would change. No
number in those blocks is typed by hand. A kind has one table a machine, target, thread count and
dtype.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("layers", "networks", "training", "recover", "experiments")
COLUMNS = {"layers": "(batch, in, out)", "networks": "batch, widths", "training": "batch, widths"}
DISTURBED = 0.1  # as in homfast.bench.table
ESTIMATORS = {
    "linear": "best linear estimator",
    "one_hidden": "bias-free network, one hidden layer",
    "two_hidden": "bias-free network, two hidden layers",
    "classical": "classical sparse recovery",
}


class ReportError(Exception):
    """README or a results file is not as it should be; the message says which and how."""


def read_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The results under `folder` by kind, in the order of the file names.

    Raises
    ------
    ReportError
        A file that is no result, or two of one machine, target, thread count and dtype.
    """
    results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    seen: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ReportError(f"{path.name}: is not JSON ({error})") from error
        if isinstance(result, dict) and "psnr" in result:
            result.setdefault("kind", "recover")
        if not isinstance(result, dict) or result.get("kind") not in KINDS:
            raise ReportError(
                f"{path.name}: got no known kind, wanted one of {', '.join(KINDS)}; "
                "made by homfast bench --json, homfast recover --json or homfast experiment --all?"
            )
        kind = result["kind"]
        name = _machine_name(kind, result)
        if (kind, name) in seen:
            raise ReportError(
                f"{path.name}: has the same kind and machine as {seen[kind, name]} ({kind}, {name})"
            )
        seen[kind, name] = path.name
        results[kind].append(result)
    return results


def block(kind: str, results: Sequence[Mapping[str, Any]]) -> str:
    """What stands between the markers of `kind`."""
    if not results:
        return f"No results of `{_command(kind)}` are committed.\n"
    table = {"recover": _recover_table, "experiments": _experiments_table}.get(kind, _bench_table)
    parts = [f"**{_machine_name(kind, result)}**\n\n{table(result)}" for result in results]
    return "\n".join(parts)


def rewrite(readme: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """`readme` with its blocks written anew.

    Raises
    ------
    ReportError
        A kind that has results but no pair of markers, or a marker without its partner.
    """
    for kind in KINDS:
        begin, end = f"<!-- begin: {kind} -->", f"<!-- end: {kind} -->"
        counts = readme.count(begin), readme.count(end)
        if counts == (0, 0) and not results.get(kind):
            continue
        if counts != (1, 1) or readme.index(begin) > readme.index(end):
            raise ReportError(
                f"README: got {counts[0]} of {begin!r} and {counts[1]} of {end!r}, "
                "wanted one of each, in this order"
            )
        before, rest = readme.split(begin)
        after = rest.split(end)[1]
        readme = f"{before}{begin}\n{block(kind, results.get(kind, []))}{end}{after}"
    return readme


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite README.md, or check it; 0 on success, 1 if the check fails, 2 for bad files."""
    parser = argparse.ArgumentParser(description="Write README's tables from benchmarks/results.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it would")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args(argv)
    before = args.readme.read_text(encoding="utf-8")
    try:
        after = rewrite(before, read_results(args.results))
    except ReportError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    if after == before:
        print("README.md is what the results say")
        return 0
    if args.check:
        print("report: README.md differs; run python benchmarks/report.py", file=sys.stderr)
        return 1
    args.readme.write_text(after, encoding="utf-8")
    print("README.md rewritten")
    return 0


def _machine_name(kind: str, result: Mapping[str, Any]) -> str:
    if kind == "recover":
        job = result["config"]
        config = job["homfast"]
        native = config.get("native", {})
        threads = f"{native['threads']} threads" if native else f"backend {config['backend']}"
        return (
            f"{job['image']}, ratio {job['ratio']}, blocks of {job['block']} x {job['block']}, "
            f"{result['seconds']:g} s a network; {config.get('cpu') or config['machine']}, "
            f"target {native.get('target', 'none')}, {threads}"
        )
    if kind == "experiments":
        config = result["config"]
        return (
            f"{result['budget']:g} s each, seed {result['seed']}; {config.get('cpu') or 'any CPU'}"
        )
    machine = result["machine"]
    backend = "" if machine["backend"] == "native" else f", backend {machine['backend']}"
    return (
        f"{machine['cpu']}, target {machine['target']}{backend}, "
        f"{machine['threads']} threads, {result['dtype']}"
    )


def _command(kind: str) -> str:
    commands = {"recover": "homfast recover", "experiments": "homfast experiment --all"}
    return commands.get(kind, f"homfast bench {kind}")


def _bench_table(result: Mapping[str, Any]) -> str:
    """One line a shape, the directions side by side, and what was measured how."""
    kind = result["kind"]
    directions = list(dict.fromkeys(row["direction"] for row in result["rows"]))
    titles = [COLUMNS[kind]]
    for direction in directions:
        titles += [f"{direction}, µs", "GFLOP/s", "of peak", "best peer, µs", "ratio"]
    lines = [_line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    by_label: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in result["rows"]:
        by_label.setdefault(row["label"], {})[row["direction"]] = row
    for label, rows in by_label.items():
        cells = [label]
        for direction in directions:
            cells += _cells(rows[direction]) if direction in rows else [""] * 5
        lines.append(_line(cells))
    means = "; ".join(f"{name} {mean:.2f}x" for name, mean in result["geometric_mean"].items())
    rounds = max(row["rounds"] for row in result["rows"])
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = max((row.get("share_of_others") or 0.0) for row in result["rows"])
    remark = f" Other processes used up to {others:.0%} of the machine meanwhile."
    lines += [
        "",
        f"Geometric mean of the ratios: {means or 'no peer was there'}. A ratio is the best peer's "
        "time over ours, a bold one a loss; peak is that of multiply-adds on the target, measured "
        f"between the rounds; every figure is a median of up to {rounds} rounds. {versions}, "
        f"commit {machine['commit']}, {machine['date']}; `{_command(kind)}`."
        + (remark if others > DISTURBED else ""),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    share, ratio, peer = row["share_of_peak"], row["ratio"], row["best_peer"]
    times = f"{_microseconds(row['seconds'][peer])} {peer}" if peer else ""
    ratio_text = "" if ratio is None else f"{ratio:.2f}"
    return [
        _microseconds(row["seconds"]["homfast"]),
        f"{row['gflops']:.0f}" if row["gflops"] >= 10 else f"{row['gflops']:.2g}",
        "" if share is None else f"{share:.0%}",
        times,
        f"**{ratio_text}**" if ratio is not None and ratio < 1 else ratio_text,
    ]


def _microseconds(seconds: float) -> str:
    value = seconds * 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _recover_table(result: Mapping[str, Any]) -> str:
    lines = [_line(["estimator", "PSNR, dB", "SSIM"]), _line(["---", "---:", "---:"])]
    for key, name in ESTIMATORS.items():
        psnr, ssim = result["psnr"].get(key), result["ssim"].get(key)
        cells = ["" if psnr is None else f"{psnr:.2f}", "" if ssim is None else f"{ssim:.3f}"]
        lines.append(_line([name, *cells]))
    facts = {
        "training_samples_per_second": "{:,.0f} training samples a second",
        "reconstruction_blocks_per_second": "{:,.0f} blocks reconstructed a second",
        "gflops": "{:.0f} GFLOP/s in training",
        "share_of_peak": "{:.0%} of the measured peak",
    }
    said = [text.format(result[key]) for key, text in facts.items() if _is_number(result.get(key))]
    if "homogeneous_to_the_bit" in result:
        said.append(
            "f(2y) == 2 f(y) to the bit"
            if result["homogeneous_to_the_bit"]
            else "f(2y) differs from 2 f(y)"
        )
    said.append(f"`{_command('recover')}`")
    return "\n".join([*lines, "", "; ".join(said) + "."]) + "\n"


def _experiments_table(result: Mapping[str, Any]) -> str:
    """One line an experiment: of its claims, the first in full and how many hold."""
    lines = [
        _line(["experiment", "first claim", "measured", "bound", "claims that hold"]),
        _line(["---", "---", "---:", "---:", "---:"]),
    ]
    for each in result["experiments"]:
        claims = each["claims"]
        first, held = claims[0], sum(claim["holds"] for claim in claims)
        value = "none" if first["value"] is None else f"{first['value']:.3g}"
        share = f"{held} of {len(claims)}"
        lines.append(
            _line(
                [
                    f"`{each['name']}`",
                    first["text"].replace("|", "\\|"),
                    value,
                    f"{first['relation']} {first['bound']:.3g}",
                    share if held == len(claims) else f"**{share}**",
                ]
            )
        )
    return "\n".join([*lines, "", f"`{_command('experiments')}`."]) + "\n"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
