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
            "versions": {"homfast": "0.1.0", "numpy": "2.4.6"},
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
