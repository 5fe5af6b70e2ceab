"""``benchmarks/report.py``: README's tables from committed results."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "report.py"
README = "# x\n\n<!-- begin: layers -->\nold\n<!-- end: layers -->\n\nafter\n"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("report", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(label, direction, seconds, ratio):
    return {
        "label": label,
        "direction": direction,
        "rounds": 9,
        "seconds": {"homfast": seconds, "numpy": seconds * ratio},
        "gflops": 123.4,
        "share_of_peak": 0.87,
        "best_peer": "numpy",
        "ratio": ratio,
    }


def result(cpu="Some CPU", target="avx2", ratio=1.5):
    return {
        "kind": "layers",
        "dtype": "float32",
        "machine": {
            "cpu": cpu,
            "target": target,
            "backend": "native",
            "threads": 2,
            "versions": {"homfast": "0.1.0", "numpy": "2.4.6", "jax": "0.10.2"},
            "commit": "abc",
            "date": "2026-01-01",
        },
        "geometric_mean": {"forward": ratio, "backward": 2.0},
        "rows": [
            row("(1, 2, 3)", "forward", 3.25e-6, ratio),
            row("(1, 2, 3)", "backward", 1.5e-3, 2.0),
        ],
    }


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "results").mkdir()
    return tmp_path


def write(checkout, name, content):
    (checkout / "results" / name).write_text(json.dumps(content))


def run(report, checkout, *words):
    paths = ["--readme", str(checkout / "README.md"), "--results", str(checkout / "results")]
    return report.main([*words, *paths])


def test_table_is_written_and_then_checked(report, checkout):
    write(checkout, "a.json", result())
    assert run(report, checkout, "--check") == 1
    assert (checkout / "README.md").read_text() == README
    assert run(report, checkout) == 0
    text = (checkout / "README.md").read_text()
    assert "| (1, 2, 3) | 3.25 | 123 | 87% | 4.88 numpy | 1.50 | 1500 |" in text
    assert "**Some CPU, target avx2, 2 threads, float32**" in text
    assert "forward 1.50x; backward 2.00x" in text
    assert "homfast 0.1.0, numpy 2.4.6, commit abc" in text  # those that took part
    assert "\nold\n" not in text
    assert text.startswith("# x\n") and text.endswith("after\n")
    assert run(report, checkout, "--check") == 0


def test_losses_are_bold(report, checkout):
    write(checkout, "a.json", result(ratio=0.8))
    run(report, checkout)
    assert "| **0.80** |" in (checkout / "README.md").read_text()


def test_one_table_a_machine_and_target(report, checkout):
    write(checkout, "a.json", result())
    write(checkout, "b.json", result(target="scalar"))
    write(checkout, "c.json", result(cpu="Other CPU"))
    assert run(report, checkout) == 0
    text = (checkout / "README.md").read_text()
    assert text.count("| (1, 2, 3) |") == 3
    assert text.index("target avx2") < text.index("target scalar") < text.index("Other CPU")


def test_without_results_a_block_says_so(report, checkout):
    assert run(report, checkout) == 0
    assert "No results of `homfast bench layers`" in (checkout / "README.md").read_text()


BLOCK = "<!-- begin: {0} --><!-- end: {0} -->\n"


def add_block(checkout, name):
    path = checkout / "README.md"
    path.write_text(path.read_text() + BLOCK.format(name))


def test_bfloat16_and_precision_have_blocks_of_their_own(report, checkout):
    write(checkout, "a.json", result())
    half = result(ratio=3.0) | {"dtype": "bfloat16", "precision": "medium", "computed_as": "medium"}
    write(checkout, "b.json", half)
    high = result(ratio=4.0) | {"precision": "high", "computed_as": "highest"}
    write(checkout, "c.json", high)
    assert run(report, checkout) == 2  # README has no place for them
    for name in ("bfloat16", "precision"):
        add_block(checkout, name)
    assert run(report, checkout) == 0
    first, *others = (checkout / "README.md").read_text().split("<!-- end: ")[:3]
    assert "1.50x" in first and "3.00x" not in first
    assert "**layers: Some CPU, target avx2, 2 threads, bfloat16**" in others[0]
    assert "3.00x" in others[0] and "`homfast bench layers --dtype bfloat16`" in others[0]
    assert "float32 'high', computed as 'highest': there is no matrix unit" in others[1]
    assert "4.00x" in others[1] and "the peers compute in full float32" in others[1]
    assert run(report, checkout, "--check") == 0


def test_without_results_and_markers_nothing_is_missed(report, checkout):
    write(checkout, "a.json", result())
    run(report, checkout)
    assert run(report, checkout, "--check") == 0
    add_block(checkout, "bfloat16")
    assert run(report, checkout, "--check") == 1


def test_a_share_of_the_matrix_unit_is_a_column(report, checkout):
    content = result() | {"precision": "highest", "computed_as": "highest"}
    content["rows"][0]["share_of_matrix_unit"] = 0.51
    content["rows"][1]["share_of_matrix_unit"] = None  # too few terms for the unit
    write(checkout, "a.json", content)
    assert run(report, checkout) == 0
    text = (checkout / "README.md").read_text()
    assert text.count("| of unit |") == 2
    assert "| 3.25 | 123 | 87% | 51% | 4.88 numpy | 1.50 | 1500 | 123 | 87% |  |" in text
    assert "of which a product takes six" in text


def test_the_cost_of_batch_invariance(report, checkout):
    content = result() | {"kind": "invariance", "geometric_mean": {"forward": 1.25}}
    content["rows"] = content["rows"][:1]
    content["rows"][0]["seconds"] = {"homfast": 4e-6, "invariant": 5e-6, "network": 3e-6}
    write(checkout, "a.json", content)
    add_block(checkout, "invariance")
    assert run(report, checkout) == 0
    text = (checkout / "README.md").read_text()
    assert "| (1, 2, 3) | 4.00 | 5.00 | +25% | 3.00 |" in text
    assert "Geometric mean of the cost +25%" in text


def test_a_hand_typed_number_fails_the_check(report, checkout):
    write(checkout, "a.json", result())
    run(report, checkout)
    path = checkout / "README.md"
    path.write_text(path.read_text().replace("1.50", "3.50"))
    assert run(report, checkout, "--check") == 1


def test_results_of_recover(report, checkout):
    names = ("linear", "one_hidden", "two_hidden", "classical")
    recovered = {
        "psnr": dict.fromkeys(names, 28.5) | {"classical": None},
        "ssim": dict.fromkeys(names, 0.9),
        "training_samples_per_second": 123456.0,
        "share_of_peak": None,
        "homogeneous_to_the_bit": True,
        "seconds": 40.0,
        "config": {
            "image": "camera",
            "ratio": 0.25,
            "block": 8,
            "homfast": {"machine": "x86_64", "native": {"target": "avx2", "threads": 2}},
        },
    }
    write(checkout, "recover.json", recovered)
    path = checkout / "README.md"
    path.write_text(README + "<!-- begin: recover --><!-- end: recover -->\n")
    assert run(report, checkout) == 0
    text = path.read_text()
    assert "**camera, ratio 0.25, blocks of 8 x 8, 40 s a network; x86_64, target avx2" in text
    assert "| best linear estimator | 28.50 | 0.900 |" in text
    assert "| classical sparse recovery |  | 0.900 |" in text
    assert "123,456 training samples a second; f(2y) == 2 f(y) to the bit" in text


def test_results_of_operators(report, checkout):
    def line(product, ratio, **facts):
        peer = "numpy" if ratio else None
        seconds = {"homfast": 0.25} | ({"numpy": 0.25 * ratio} if ratio else {})
        rest = {"share_of_copy": None, "extra_bytes": None, "absent": {}, "rounds": 7} | facts
        names = {"operator": "Gaussian on the fly", "size": "4 x 8, batch 1", "product": product}
        return names | {"seconds": seconds, "best_peer": peer, "ratio": ratio} | rest

    rows = [
        line("forward", 0.5, extra_bytes=1_500_000),
        line("adjoint", 2.0, share_of_copy=0.75),
        line("gram", None, absent={"numpy": "its matrix takes 4 GiB"}),
    ]
    facts = {"kind": "operators", "scale": 2, "absent": {"deepinv": "cannot be imported (x)"}}
    content = result() | facts | {"copy_gigabytes_per_second": 12.34, "rows": rows}
    write(checkout, "operators.json", content)
    path = checkout / "README.md"
    path.write_text(README + "<!-- begin: operators --><!-- end: operators -->\n")
    assert run(report, checkout) == 0
    text = path.read_text()
    start = "| Gaussian on the fly | 4 x 8, batch 1 |"
    assert f"{start} forward | 250 | 125 numpy | **0.50** |  | 1.5 |" in text
    assert f"{start} adjoint | 250 | 500 numpy | 2.00 | 75% |  |" in text
    assert f"{start} gram | 250 |  |  |  |  |" in text
    assert "Absent: deepinv, cannot be imported (x). Absent: numpy, its matrix takes" in text
    assert "Sizes are divided by 2." in text and "12.3 GB/s" in text


def recovered(operator):
    names = ("linear", "one_hidden", "two_hidden", "classical")
    return {
        "psnr": dict.fromkeys(names, 28.5) | {"classical": None},
        "ssim": dict.fromkeys(names, 0.9),
        "seconds": 40.0,
        "config": {
            "image": "camera",
            "ratio": 0.25,
            "block": 8,
            "operator": operator,
            "homfast": {"machine": "x86_64", "native": {"target": "avx2", "threads": 2}},
        },
    }


def test_results_of_each_operator_go_to_the_docs(report, checkout, capsys):
    runs = [recovered("gaussian"), recovered("cosine")]
    write(checkout, "operators.json", {"kind": "recover-operators", "runs": runs})
    path = checkout / "docs" / "operators.md"
    path.parent.mkdir()
    path.write_text("# y\n")
    assert run(report, checkout) == 2
    assert "operators: got 0 of '<!-- begin: recover-operators -->'" in capsys.readouterr().err
    path.write_text("<!-- begin: recover-operators -->\n<!-- end: recover-operators -->\n")
    assert run(report, checkout, "--check") == 1
    assert run(report, checkout) == 0
    text = path.read_text()
    assert "**camera, ratio 0.25, blocks of 8 x 8, 40 s a network; x86_64, target avx2" in text
    assert "| cosine | 28.50 (0.900) | 28.50 (0.900) | 28.50 (0.900) |  (0.900) |" in text
    assert run(report, checkout, "--check") == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "[]", "no known kind"),
        ("a.json", '{"kind": "networks", "rows": []}', "README"),
    ],
)
def test_bad_files_are_named(report, checkout, capsys, name, content, message):
    if "networks" in content:
        content = json.dumps(result() | {"kind": "networks"})
    (checkout / "results" / name).write_text(content)
    assert run(report, checkout) == 2
    assert message in capsys.readouterr().err


def test_two_results_of_one_machine_are_refused(report, checkout, capsys):
    write(checkout, "a.json", result())
    write(checkout, "b.json", result())
    assert run(report, checkout) == 2
    assert "a.json" in capsys.readouterr().err


def test_calls_of_torch_stand_in_its_document(report, checkout):
    document = checkout / "docs" / "torch.md"
    document.parent.mkdir()
    document.write_text("<!-- begin: torch -->\n<!-- end: torch -->\n")
    seconds = dict.fromkeys(("homfast", "torch.compile", "torch.compile of homfast"), 2e-6)
    row = {"label": "forward: 1, (2, 3)", "rounds": 9, "seconds": {**seconds, "torch": 1.5e-6}}
    found = {"kind": "torch", "omp_wait_policy": "passive", "rows": [{**row, "best": {}}]}
    found = {**result(), "machine": {**result()["machine"], "versions": {"torch": "2.13"}}, **found}
    (checkout / "results" / "torch.json").write_text(json.dumps(found))
    where = [f"--readme={checkout / 'README.md'}", f"--results={checkout / 'results'}"]
    assert report.main(where) == 0
    text = document.read_text()
    assert "| forward: 1, (2, 3) | 2.00 | 1.50 | **0.75** | 2.00 | 1.00 | 2.00 |" in text
    assert "`OMP_WAIT_POLICY=passive python benchmarks/bench_torch.py 2`" in text
    assert report.main([*where, "--check"]) == 0
