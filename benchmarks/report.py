"""Write the tables of README.md and of docs/ from the results under benchmarks/results.

``homfast bench KIND --json benchmarks/results/NAME.json`` and the other commands of BLOCKS make the
files; ``python benchmarks/report.py`` rewrites what stands between ``<!-- begin: BLOCK -->`` and
``<!-- end: BLOCK -->``; with ``--check`` it writes nothing and fails if README.md would change. No
number in those blocks is typed by hand. A block is a kind, or layers and networks in "bfloat16" or
at another "precision"; it has one table a machine, target, thread count, dtype and precision.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Blocks by the command that makes their results; all but those IN_DOCS stand in README.md.
BLOCKS = {
    "layers": "homfast bench layers",
    "networks": "homfast bench networks",
    "training": "homfast bench training",
    "bfloat16": "homfast bench layers|networks --dtype bfloat16",
    "precision": "homfast bench layers|networks --precision high",
    "invariance": "homfast bench invariance",
    "operators": "homfast bench operators",
    "device": "homfast bench layers|networks|operators --device cuda",
    "recover": "homfast recover",
    "experiments": "homfast experiment --all",
    "recover-operators": "python benchmarks/recover_operators.py",
    "torch": "python benchmarks/bench_torch.py",
}
IN_DOCS = {"docs/operators.md": ("recover-operators",), "docs/torch.md": ("torch",)}
KINDS = tuple(
    name for name in BLOCKS if name not in ("bfloat16", "precision", "device")
)  # of results
COLUMNS = {"layers": "(batch, in, out)", "networks": "batch, widths", "training": "batch, widths"}
DISTURBED = 0.1  # as in homfast.bench.table
PRODUCTS = {"highest": "six", "high": "three", "medium": "one"}
ESTIMATORS = {
    "linear": "best linear estimator",
    "one_hidden": "bias-free network, one hidden layer",
    "two_hidden": "bias-free network, two hidden layers",
    "classical": "classical sparse recovery",
}


class ReportError(Exception):
    """README or a results file is not as it should be; the message says which and how."""


def read_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The results under `folder` by block, in the order of the file names.

    Raises
    ------
    ReportError
        A file that is no result, or two of one machine, target, thread count, dtype and precision.
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in BLOCKS}
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
        results[block_of(result)].append(result)
    return results


def block_of(result: Mapping[str, Any]) -> str:
    """The block that a result belongs to."""
    kind = result["kind"]
    if _on_device(result):
        return "device"
    if kind in ("layers", "networks"):
        if result["dtype"] == "bfloat16":
            return "bfloat16"
        if result.get("precision", "highest") != "highest":
            return "precision"
    return kind


def block(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    """What stands between the markers of the block `name`."""
    if not results:
        return f"No results of `{BLOCKS[name]}` are committed.\n"
    parts = []
    for result in results:
        kind = result["kind"]
        title = _machine_name(kind, result)
        if name != kind:
            title = f"{kind}: {title}"
        parts.append(f"**{title}**\n\n{_TABLES.get(kind, _bench_table)(result)}")
    return "\n".join(parts)


def rewrite(
    readme: str,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str] = tuple(BLOCKS),
    document: str = "README",
) -> str:
    """`readme` with its blocks `names` written anew.

    Raises
    ------
    ReportError
        A block that has results but no pair of markers, or a marker without its partner.
    """
    for name in names:
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        counts = readme.count(begin), readme.count(end)
        if counts == (0, 0) and not results.get(name):
            continue
        if counts != (1, 1) or readme.index(begin) > readme.index(end):
            raise ReportError(
                f"{document}: got {counts[0]} of {begin!r} and {counts[1]} of {end!r}, "
                "wanted one of each, in this order"
            )
        before, rest = readme.split(begin)
        after = rest.split(end)[1]
        readme = f"{before}{begin}\n{block(name, results.get(name, []))}{end}{after}"
    return readme


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite README.md, or check it; 0 on success, 1 if the check fails, 2 for bad files."""
    parser = argparse.ArgumentParser(description="Write the tables from benchmarks/results.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it would")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args(argv)
    elsewhere = {name for names in IN_DOCS.values() for name in names}
    files = {args.readme: tuple(name for name in BLOCKS if name not in elsewhere)}
    files |= {args.readme.parent / path: names for path, names in IN_DOCS.items()}
    changed = {}
    try:
        results = read_results(args.results)
        for path, names in files.items():
            if path != args.readme and not path.exists():
                continue
            before = path.read_text(encoding="utf-8")
            after = rewrite(before, results, names, path.stem)
            if after != before:
                changed[path] = after
    except ReportError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    if not changed:
        print("README.md and docs are what the results say")
        return 0
    differing = ", ".join(path.name for path in changed)
    if args.check:
        print(f"report: {differing} differs; run python benchmarks/report.py", file=sys.stderr)
        return 1
    for path, after in changed.items():
        path.write_text(after, encoding="utf-8")
    print(f"{differing} rewritten")
    return 0


def _machine_name(kind: str, result: Mapping[str, Any]) -> str:
    if "runs" in result:  # of one machine
        return _machine_name("recover", result["runs"][0])
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
    if _on_device(result):
        numbers = f"{result['dtype']}, {result.get('precision', 'highest')!r}"
        return f"{machine['device']}, driver {machine['driver']}, {machine['backend']}, {numbers}"
    backend = "" if machine["backend"] == "native" else f", backend {machine['backend']}"
    numbers = result["dtype"]
    precision = result.get("precision", "highest")
    if numbers == "float32" and precision != "highest":
        numbers += f" {precision!r}"
        if result["computed_as"] != precision:
            numbers += f", computed as {result['computed_as']!r}: there is no matrix unit"
    if policy := result.get("omp_wait_policy"):
        numbers += f", OMP_WAIT_POLICY={policy}"
    count = machine["threads"]
    return (
        f"{machine['cpu']}, target {machine['target']}{backend}, "
        f"{count} thread{'s' if count > 1 else ''}, {numbers}"
    )


def _on_device(result: Mapping[str, Any]) -> bool:
    return "device" in result.get("machine", {})


def _command(result: Mapping[str, Any]) -> str:
    if result["kind"] == "torch":
        policy = result["omp_wait_policy"]
        command = f"{BLOCKS['torch']} {result['machine']['threads']}"
        return f"OMP_WAIT_POLICY={policy} {command}" if policy else command
    command = f"homfast bench {result['kind']}"
    if _on_device(result):
        command += " --device cuda"
    if result["dtype"] != "float32":
        return f"{command} --dtype {result['dtype']}"
    precision = result.get("precision", "highest")
    return command if precision == "highest" else f"{command} --precision {precision}"


def _bench_table(result: Mapping[str, Any]) -> str:
    """One line a shape, the directions side by side, and what was measured how."""
    unit = any(row.get("share_of_matrix_unit") is not None for row in result["rows"])
    directions = list(dict.fromkeys(row["direction"] for row in result["rows"]))
    titles = [COLUMNS[result["kind"]]]
    for direction in directions:
        titles += [f"{direction}, µs", "GFLOP/s", "of peak", *(["of unit"] if unit else [])]
        titles += ["best peer, µs", "ratio"]
    lines = [_line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    by_label: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in result["rows"]:
        by_label.setdefault(row["label"], {})[row["direction"]] = row
    for label, rows in by_label.items():
        cells = [label]
        for direction in directions:
            cells += _cells(rows[direction], unit) if direction in rows else [""] * (5 + unit)
        lines.append(_line(cells))
    means = "; ".join(f"{name} {mean:.2f}x" for name, mean in result["geometric_mean"].items())
    said = [
        f"Geometric mean of the ratios: {means or 'no peer was there'}. A ratio is the best peer's "
        "time over ours, a bold one a loss"
    ]
    if _on_device(result):
        said.append("times by CUDA events, operands in turns through more than the L2 cache")
    else:
        said.append("peak is that of multiply-adds on the target, measured between the rounds")
    if unit:
        said.append(
            "unit that of bf16 products on the matrix unit, of which a product takes "
            f"{PRODUCTS[result['precision']]}; packing is inside of the clock for layers"
        )
    if result["dtype"] == "bfloat16":
        if any("numpy" in row["seconds"] for row in result["rows"]):
            said.append("NumPy widens, multiplies in float32 and rounds")
    elif result.get("precision", "highest") != "highest":
        said.append("the peers compute in full float32")
    return "\n".join([*lines, "", f"{'; '.join(said)}; {_how(result)}"]) + "\n"


def _how(result: Mapping[str, Any]) -> str:
    """How, with what and when it was measured, as the end of a sentence and another."""
    machine, rows = result["machine"], result["rows"]
    took_part = {name.partition(".")[0] for row in rows for name in row["seconds"]}
    versions = (f"{n} {version}" for n, version in machine["versions"].items() if n in took_part)
    others = max((row.get("share_of_others") or 0.0) for row in rows)
    remark = f" Other processes used up to {others:.0%} of the machine meanwhile."
    text = (
        f"every figure is a median of up to {max(row['rounds'] for row in rows)} rounds. "
        f"{', '.join(versions)}, commit {machine['commit']}, {machine['date']}; "
        f"`{_command(result)}`."
    )
    return text + remark if others > DISTURBED else text


def _invariance_table(result: Mapping[str, Any]) -> str:
    """The layer call as it is, made invariant, and a network of the one layer."""
    titles = [COLUMNS["layers"], "layer, µs", "invariant, µs", "cost", "network, µs"]
    lines = [_line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    for row in result["rows"]:
        seconds = row["seconds"]
        plain, invariant, network = (seconds[n] for n in ("homfast", "invariant", "network"))
        cells = [_microseconds(plain), _microseconds(invariant), f"{invariant / plain - 1:+.0%}"]
        lines.append(_line([row["label"], *cells, _microseconds(network)]))
    mean = result["geometric_mean"]["forward"]
    text = f"Geometric mean of the cost {mean - 1:+.0%}; {_how(result)}"
    return "\n".join([*lines, "", text]) + "\n"


def _torch_table(result: Mapping[str, Any]) -> str:
    """A line a call of a model of PyTorch: as it is, compiled, and with homfast in it."""
    others = ("torch", "torch.compile")
    titles = ["call: batch, widths", "homfast, µs", "eager, µs", "ratio", "torch.compile, µs"]
    titles += ["ratio", "compiled homfast, µs"]
    lines = [_line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    for row in result["rows"]:
        seconds = row["seconds"]
        cells = [row["label"], _microseconds(seconds["homfast"])]
        for other in others:
            ratio = seconds[other] / seconds["homfast"]
            cells += [_microseconds(seconds[other]), _ratio(ratio)]
        lines.append(_line([*cells, _microseconds(seconds["torch.compile of homfast"])]))
    text = "A ratio is the other's time over homfast's in the same model, a bold one a loss; "
    return "\n".join([*lines, "", text + _how(result)]) + "\n"


def _ratio(ratio: float) -> str:
    return f"**{ratio:.2f}**" if ratio < 1 else f"{ratio:.2f}"


def _cells(row: Mapping[str, Any], unit: bool) -> list[str]:
    ratio, peer = row["ratio"], row["best_peer"]
    shares = [row["share_of_peak"], *([row["share_of_matrix_unit"]] if unit else [])]
    times = f"{_microseconds(row['seconds'][peer])} {peer}" if peer else ""
    return [
        _microseconds(row["seconds"]["homfast"]),
        f"{row['gflops']:.0f}" if row["gflops"] >= 10 else f"{row['gflops']:.2g}",
        *("" if value is None else f"{value:.0%}" for value in shares),
        times,
        "" if ratio is None else _ratio(ratio),
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
    said.append(f"`{BLOCKS['recover']}`")
    return "\n".join([*lines, "", "; ".join(said) + "."]) + "\n"


def _operators_table(result: Mapping[str, Any]) -> str:
    """One line a product, its best peer beside it; the reasons why peers are absent below."""
    titles = ["operator", "size", "product", "homfast, ms", "best peer, ms", "ratio"]
    titles += ["of copy", "extra MB"]
    lines = [_line(titles), _line(["---"] * 3 + ["---:"] * 5)]
    reasons = dict(result["absent"])
    for row in result["rows"]:
        peer, ratio = row["best_peer"], row["ratio"]
        share, extra = row["share_of_copy"], row["extra_bytes"]
        cells = [row["operator"], row["size"], row["product"]]
        cells += [_milliseconds(row["seconds"]["homfast"])]
        cells += [f"{_milliseconds(row['seconds'][peer])} {peer}" if peer else ""]
        cells += ["" if ratio is None else _ratio(ratio)]
        cells += ["" if share is None else f"{share:.0%}"]
        cells += ["" if extra is None else f"{extra / 1e6:.1f}"]
        lines.append(_line(cells))
        reasons |= row["absent"]
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = max((row.get("share_of_others") or 0.0) for row in result["rows"])
    said = [
        "A ratio is the best peer's time over ours, a bold one a loss; peers have the matrix "
        "stored where ours is made on the fly; of copy: bytes read and written over the time, of "
        f"{result['copy_gigabytes_per_second']:.1f} GB/s in copying large arrays; extra: memory "
        "beside input and result; every figure is a median of up to "
        f"{max(row['rounds'] for row in result['rows'])} rounds."
    ]
    if result["scale"] != 1:
        said.append(f"Sizes are divided by {result['scale']}.")
    said += [f"Absent: {name}, {reason}." for name, reason in reasons.items()]
    said.append(f"{versions}, commit {machine['commit']}, {machine['date']}; `{_command(result)}`.")
    if others > DISTURBED:
        said.append(f"Other processes used up to {others:.0%} of the machine meanwhile.")
    return "\n".join([*lines, "", " ".join(said)]) + "\n"


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _recover_operators_table(result: Mapping[str, Any]) -> str:
    """One line an operator, one column an estimator."""
    lines = [_line(["PSNR, dB (SSIM)", *ESTIMATORS.values()])]
    lines.append(_line(["---"] + ["---:"] * len(ESTIMATORS)))
    for run in result["runs"]:
        cells = []
        for key in ESTIMATORS:
            psnr, ssim = run["psnr"].get(key), run["ssim"].get(key)
            cell = "" if psnr is None else f"{psnr:.2f}"
            cells.append(cell if ssim is None else f"{cell} ({ssim:.3f})")
        lines.append(_line([run["config"]["operator"], *cells]))
    return "\n".join([*lines, "", f"`{BLOCKS['recover-operators']}`."]) + "\n"


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
    return "\n".join([*lines, "", f"`{BLOCKS['experiments']}`."]) + "\n"


_TABLES = {
    "experiments": _experiments_table,
    "recover": _recover_table,
    "operators": _operators_table,
    "invariance": _invariance_table,
    "recover-operators": _recover_operators_table,
    "torch": _torch_table,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
