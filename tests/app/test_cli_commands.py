"""Commands around the library: info, solve, convert, plan, runs, completion; JSON, quiet, exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.shell_completion import ShellComplete
from command_line import SMALL, error
from PIL import Image

import unstride as us
from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.commands.printing import exit_code
from unstride.app.runs import Run


def said(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert cli.main(shlex.split(line)) == code
    return capsys.readouterr()


def told(capsys: pytest.CaptureFixture[str], line: str) -> Any:
    """The JSON that is all of the standard output."""
    out, err = said(capsys, line)
    assert err == ""
    assert out.isascii()
    return json.loads(out)


def mistaken(capsys: pytest.CaptureFixture[str], line: str) -> str:
    return error(capsys, *shlex.split(line))


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "info --json")
    assert found["unstride"] == us.__version__
    assert found["native"]["instruction_set"] in found["native"]["available"]
    assert found["threads"]["number"] == us.get_num_threads()
    assert found["numpy"] == np.__version__
    assert found["frameworks"]["torch"]["version"] == importlib.metadata.version("torch")
    assert found["keras_backend"]["name"] == "jax"
    assert found["runs"] == {"folder": str(Path("runs").absolute()), "number": 0}
    out, _ = said(capsys, "info")
    for line in (
        rf"unstride +{us.__version__}",
        rf"NumPy +{np.__version__}",
        "Backend +jax: ",
        "Threads +[0-9]+, ",
        "Runs +/",
    ):
        assert re.search(f"^{line}", out, re.M), line


def test_info_imports_no_framework_and_says_what_is_missing() -> None:
    """And works where the app is installed without any of them."""
    code = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in ("keras", "torch", "tensorflow") else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from unstride.__main__ import main
assert main(["info"]) == 0
assert not {"keras", "jax", "torch", "tensorflow"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line in (r'Keras +not installed; pip install "unstride\[keras\]"', r'PyTorch +not installed; pip install "unstride\[torch\]"',
                 "Backend +none, as Keras is not installed", "JAX +[0-9]"):  # fmt: skip
        assert re.search(f"^{line}", done.stdout, re.M), done.stdout


def test_solve_prints_what_us_solve_finds_in_every_frameworks_words(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "solve 7x7 28x28")
    for number, geometry in enumerate(us.solve((7, 7), (28, 28), limit=3), 1):
        assert f"{number}. {geometry}" in out
    for line in ("keras.layers.Conv2DTranspose(kernel_size=(4, 4), strides=(4, 4), padding='valid')", "torch.nn.ConvTranspose2d(",
                 "output_shape=(28, 28)", "jax.lax.conv_transpose(", "ConvTranspose(kernel_shape=(4, 4)"):  # fmt: skip
        assert line in out
    found = told(capsys, "solve 7x7 14x14 --kernel-size 3 --stride 2 --limit 5 --json")
    expected = us.solve((7, 7), (14, 14), kernel_size=3, stride=2, limit=5)
    assert [one["crops"] for one in found] == [[list(crop) for crop in g.crops] for g in expected]
    for one, geometry in zip(found, expected, strict=True):
        assert one["onnx"] == json.loads(json.dumps(geometry.to("onnx")))
    assert any("not_expressible" in one["torch"] for one in found)
    assert told(capsys, "solve 7 14 --padding 0 --stride 2 --kernel-size 3 --json") == []
    assert said(capsys, "solve 7 14 --padding 0 --stride 2 --kernel-size 3")[0].startswith("Nothing makes 14 from 7")


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ('keras "k=4 s=2 same" torch', "kernel_size=4, stride=2, padding=1, output_padding=0, groups=1, dilation=1"),
        ('keras "kernel_size=4, strides=2, padding=\'same\'" torch', "kernel_size=4, stride=2, padding=1, output_padding=0, groups=1, dilation=1"),
        ('keras "k=4,s=2,same" torch', "kernel_size=4, stride=2, padding=1, output_padding=0, groups=1, dilation=1"),
        ('keras "k=4,4,s=2,2,p=same" torch', "kernel_size=(4, 4), stride=(2, 2), padding=(1, 1), output_padding=(0, 0), groups=1, dilation=(1, 1)"),
        ('torch "k=(3,3) s=2 p=1 op=1" onnx', "kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 0, 0), dilations=(1, 1), group=1, output_padding=(0, 0)"),
        ('onnx "kernel_shape=3x3 strides=2x2 SAME_UPPER" keras', "kernel_size=(3, 3), strides=(2, 2), padding='same', output_padding=None, dilation_rate=(1, 1)"),
        ('onnx "k=3 s=2 same_lower" unstride', "Geometry(kernel_size=(3,), stride=(2,), padding=((1, 0),))"),
        ('jax "k=3 s=2 padding=[(1,2)]" torch', "kernel_size=3, stride=2, padding=1, output_padding=1, groups=1, dilation=1"),
        ('unstride "k=3 s=2 p=1:0" jax', "strides=2, padding=[(1, 2)], rhs_dilation=1, transpose_kernel=True"),
        ('torch "k=3 s=2 p=1 op=1" tensorflow --size 7x7', "strides=(2, 2), dilations=(1, 1), padding=[[0, 0], [1, 0], [1, 0], [0, 0]], output_shape=(14, 14)\nmakes 14x14 from 7x7"),
        ('tensorflow "k=3 s=2 SAME output_shape=14" keras --size 7', "kernel_size=3, strides=2, padding='same', output_padding=None, dilation_rate=1\nmakes 14 from 7"),
        ('keras "k=4 s=2 same" torch --size 7x9', "kernel_size=(4, 4), stride=(2, 2), padding=(1, 1), output_padding=(0, 0), groups=1, dilation=(1, 1)\nmakes 14x18 from 7x9"),
    ],
)  # fmt: skip
def test_convert(line: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, f"convert {line}")[0] == f"{printed}\n"
    assert set(told(capsys, f"convert {line} --json")) == {"arguments", "geometry", "output_size"}


def test_convert_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    message = mistaken(capsys, 'convert keras "k=3 s=2 same" torch')
    assert message.startswith("torch cannot express this geometry in one call")
    assert "Instead: conv_transpose with padding (0,), without bias; then crop" in message
    for line, words in (
        ('convert caffe "k=3" torch', "FROM is 'caffe'; expected one of keras, torch"),
        ('convert keras "k=3" caffe', "TO is 'caffe'"),
        ('convert keras "stride=2" torch', "'stride', which is no argument of keras; these are: kernel_size, strides"),
        ('convert keras "s=2" torch', "no kernel size; expected kernel_size=..., or k=..., as k=4"),
        ('convert keras "k=3 k=4" torch', "kernel_size twice"),
        ('convert keras "k=3 p=(1" torch', "padding is (1; expected numbers in brackets"),
        ('convert keras "k=3 !" torch', "ARGUMENTS has '!'; expected name=value"),
        ('convert torch "k=3 same" keras', "padding is 'same'"),
        ('convert torch "k=3 s=2" tensorflow', "--size is missing"),
        ('convert torch "k=3x3 s=2" tensorflow --size big', "--size is 'big'; expected a size, as 28x28"),
    ):
        assert words in mistaken(capsys, line), line


def test_plan(capsys: pytest.CaptureFixture[str]) -> None:
    line = "plan 1x16x16x64 4x4x32x64 --stride 2 --padding 1"
    expected = us.plan((1, 16, 16, 64), (4, 4, 32, 64), stride=2, padding=1)
    assert said(capsys, line)[0] == f"{expected}\n"
    found = told(capsys, f"{line} --json")
    assert (found["multiply_adds"], found["big"]) == (expected.multiply_adds, list(expected.big))
    assert found["geometry"]["crops"] == [[1, 1], [1, 1]]
    assert told(capsys, f"{line} --map conv --dtype float64 --json")["map"] == "conv"
    for line, words in (
        ("plan 1x16 4x4x32x6", "X is [1, 16]"),
        ("plan 1x7x7x2 3x3x2x4", "X has 2 channels"),
        ("plan 1x7x7x2 3x3x2x2 --dtype int8", "--dtype is 'int8'"),
        ("plan 1x7x7x2 3x3x2x2 --map back", "--map is 'back'"),
        ("plan ax7 3x3x2x2", "X is 'ax7'; expected a size"),
    ):
        assert words in mistaken(capsys, line)


@pytest.mark.parametrize(
    "line",
    [
        f"explain {bad}"
        for bad in (
            "--stride 0", "--stride 1,2,3", "--dilation 0", "--output-padding -1", "--padding 9 --kernel 2x2",
            "--kernel 1x2x3", "--input 40x40 --kernel 9x9", "--bias nan", "--map convx", "--view side",
            "--map conv --output-padding 1", "--input 0x2", "--preset nothing", "--padding 1:0 --kernel 3x3",
        )
    ]
    + [
        f"solve {bad}"
        for bad in ("7 14 --kernel-size 0", "7 14 --output-padding 1", "7 14 --groups 0", "7x7 14x14 --stride 1,2,3",
                    "1x7x7x3 1x28x28x3", "0 3", "7 14 --padding 1,2,3 --kernel-size 3")
    ]
    + ["plan 1x7x7x2 3x3x2x2 --stride 0", "plan 1x7x7x2 3x3x2x2 --padding 9", "plan 1x7x7x2 3x3x2x2 --groups 3"],
)  # fmt: skip
def test_errors_name_options_and_not_pythons_arguments(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = mistaken(capsys, line)
    bare = re.sub(
        r"--[\w-]+|the kernel|padding: |use less padding|its padding|more padding|without padding", "", message
    )
    assert not re.search(
        r"[a-z]_[a-z]+(size|padding)|\b(x|stride|dilation|groups|kernel|padding|bias|map|view) (is|has|of)\b|=", bare
    ), message


@pytest.mark.slow
def test_evaluate_as_json_is_the_runs_own(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, f"evaluate {run.path} --json") == json.loads((run.path / "evaluation.json").read_text())


def test_reconstruct_as_json(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, f"reconstruct {run.path} -o o.png --json")
    assert found["picture"] == "o.png"
    assert [one["image"] for one in found["images"]] == [f"class {label}" for label in range(10)]
    assert all(0 < one["error"] < 1 for one in found["images"])
    assert Path("o.png").exists()


@pytest.mark.parametrize("folder", [False, True])
def test_reconstruct_goes_on_after_a_bad_image(folder: bool, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """And takes a folder; what `upscale` and `segment` do."""
    digits = us.data.mnist()[1][0]
    Path("in").mkdir()
    Path("in/b.png").write_text("words")
    for name, digit in zip("ac", digits, strict=False):
        Image.fromarray(digit).save(f"in/{name}.png")
    names = "in" if folder else "in/a.png in/b.png in/c.png"
    out, err = said(capsys, f"reconstruct {run.path} {names} -o out.png --json", 1)
    assert [one["image"] for one in json.loads(out)["images"]] == ["a.png", "c.png"]
    assert err.startswith("unstride: error: in/b.png: not an image")
    assert err.count("\n") == 1
    with Image.open("out.png") as image:
        assert image.size == (2 * 38 * 4, 84 * 4)
    assert "in/b.png" in said(capsys, f"reconstruct {run.path} in/b.png -o none.png", 2)[1]
    assert not Path("none.png").exists()


@pytest.mark.slow
def test_quiet_prints_errors_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, f"train --quiet --run r {' '.join(SMALL)}") == ("", "")
    assert (tmp_path / "r" / "report.html").exists()
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save("a.png")
    (tmp_path / "words.png").write_text("words")
    for command in ("upscale", "segment"):
        assert said(capsys, f"{command} -q a.png -o {command}.png") == ("", "")
        assert Path(f"{command}.png").exists()
        out, err = said(capsys, f"{command} -q a.png words.png -o folder/", 1)
        assert out == ""
        assert err.startswith("unstride: error: words.png: ")
        assert err.count("\n") == 1


def test_the_same_mistake_has_the_same_exit_code(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 where nothing is done, 1 where something is."""
    (tmp_path / "words.png").write_text("words")
    for command in (f"reconstruct {run.path}", "upscale -o o.png", "segment -o o.png"):
        for image in ("words.png", "nothing.png"):
            assert image in said(capsys, f"{command} {image}", 2)[1]
    assert [exit_code(failed, 3) for failed in range(4)] == [0, 1, 1, 2]
    out, _ = said(capsys, "--help")
    assert "Exit codes: 0 done; 1 some of several inputs failed" in " ".join(out.split())


def test_a_file_of_a_run_is_told_from_the_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for command in ("evaluate", "reconstruct", "runs"):
        message = mistaken(capsys, f"{command} {run.model}")
        assert message == f"{run.model}: a file of the run {run.path}; give the run's folder, {run.path}"
        assert mistaken(capsys, f"{command} file") == "file: a file; expected the folder of a run"


def other_run(tmp_path: Path, name: str, **options: Any) -> Run:
    made = Run(tmp_path / "runs" / name, runs.options.Options(**options), {}, {})
    made.path.mkdir(parents=True)
    made.save()
    return made


def test_runs(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs")[0].startswith("No runs in ")
    assert told(capsys, "runs --json") == []
    shutil.copytree(run.path, tmp_path / "runs" / "good")
    other_run(tmp_path, "begun", epochs=5)
    stopped = other_run(tmp_path, "stopped", model="compressor", epochs=5, code=16)
    stopped.history.write_text("epoch,loss,val_loss\n0,0.5,0.5\n1,0.4,0.4\n")
    broken = other_run(tmp_path, "broken")
    (broken.path / "config.json").write_text('{"options": ')
    worse = other_run(tmp_path, "worse")
    (worse.path / "evaluation.json").write_text("[1]")
    odd = other_run(tmp_path, "odd")
    odd.history.write_text("epoch,loss,val_loss\n0,much,0\n")
    (tmp_path / "runs" / "something else").mkdir()
    (tmp_path / "runs" / "no folder").touch()
    found = {Path(one["run"]).name: one for one in told(capsys, "runs --json")}
    assert set(found) == {"good", "begun", "stopped", "broken", "worse", "odd"}
    states = {name: one["state"] for name, one in found.items()}
    assert states == {"good": "trained", "begun": "stopped in its first epoch", "stopped": "stopped", "broken": "damaged",
                      "worse": "damaged", "odd": "damaged"}  # fmt: skip
    assert found["good"]["figures"]["loss"] == json.loads((run.path / "evaluation.json").read_text())["loss"]
    assert (found["stopped"]["epochs"], found["stopped"]["options"]["code"]) == (2, 16)
    assert "config.json is damaged" in found["broken"]["problem"]
    assert "evaluation.json is damaged" in found["worse"]["problem"]
    assert "much" in found["odd"]["problem"]
    out, _ = said(capsys, "runs")
    lines = dict(line.split("\t", 1) for line in out.splitlines())
    assert len(lines) == 6
    assert re.fullmatch(
        r"autoencoder\t\d{4}-\d\d-\d\d \d\d:\d\d\t1/1\tloss [\d.]+, error [\d.]+\ttrained", lines["runs/good"]
    )
    assert lines["runs/stopped"].endswith("\t2/5\t–\tstopped")
    assert "\tdamaged: not a run: its config.json is damaged" in lines["runs/broken"]
    with runs.locked(stopped.path):
        assert said(capsys, "runs")[0].count("in training") == 1
    assert said(capsys, "runs runs")[0] == out
    compared, _ = said(capsys, "runs runs/good runs/stopped")
    for row in (
        ("MODEL", "autoencoder", "compressor"),
        ("--code", "–", "16"),
        ("epochs done", "1", "2"),
        ("state", "trained", "stopped"),
    ):
        assert re.search(" +[│|] +".join(map(re.escape, row)), compared), compared
    assert "--seed" not in compared
    assert "All options are equal." in said(capsys, "runs runs/good runs/good")[0]
    single, _ = said(capsys, "runs runs/good")
    assert "--seed" in single
    assert mistaken(capsys, "runs runs/good nowhere").startswith("nowhere: no such folder")
    assert mistaken(capsys, "runs runs/good runs/broken").startswith(
        "runs/broken: not a run: its config.json is damaged"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, f"completion {shell}")
    assert "_UNSTRIDE_COMPLETE" in out
    assert err == ""
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=out, text=True, check=True)


def test_what_tab_completes(tmp_path: Path) -> None:
    other_run(tmp_path, "one"), other_run(tmp_path, "two")

    def completed(*words: str) -> list[str]:
        shell = ShellComplete(cli.cli, {}, "unstride", "_UNSTRIDE_COMPLETE")
        *before, last = words
        return [item.value if item.type == "plain" else item.type for item in shell.get_completions(before, last)]

    assert completed("ev") == ["evaluate"]
    assert completed("evaluate", "") == ["runs/one", "runs/two"]
    assert completed("runs", "runs/t") == ["runs/two"]
    assert completed("evaluate", "elsewhere/") == ["dir"]
    assert completed("upscale", "") == ["file"]
    assert completed("train", "--backend", "t") == ["torch", "tensorflow"]
    assert completed("train", "comp") == ["compressor"]
    assert completed("convert", "k") == ["keras"]
    assert completed("upscale", "--model", "runs/o") == ["runs/one"]
    assert "--json" in completed("solve", "--j")


def test_the_command_completes_in_a_shell() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unstride"], capture_output=True, text=True, check=False,
        env=os.environ | {"_UNSTRIDE_COMPLETE": "bash_complete", "COMP_WORDS": "unstride sol", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert done.stdout == "plain,solve\n"


def test_every_command_has_a_line_of_help_that_is_whole() -> None:
    for name, command in cli.cli.commands.items():
        assert isinstance(command, click.Command)
        assert command.get_short_help_str(200).endswith((".", ":", "…")), name
