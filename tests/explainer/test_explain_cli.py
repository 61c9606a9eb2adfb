"""`unstride explain` and `unstride quiz` from a shell."""

import os
import pty
import select
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

import unstride as us
from unstride.__main__ import main
from unstride.explainer.presets import PRESETS


def run(capsys, *arguments):
    code = main([*arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def test_the_issues_example(capsys):
    code, out, err = run(capsys, "explain", "--input", "0 1; 2 3", "--kernel", "0 1; 2 3", "--stride", "2")
    assert (code, err) == (0, "")
    assert out == us.explain([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2).text(width=100) + "\n"


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (["--padding", "1"], {"padding": 1}),
        (["--padding", "1:0,0:-1"], {"padding": [(1, 0), (0, -1)]}),
        (["--padding", "1,0"], {"padding": [1, 0]}),
        (["--padding", "same", "--stride", "3"], {"padding": "same", "stride": 3}),
        (["--stride", "3,2", "--output-padding", "1"], {"stride": (3, 2), "output_padding": 1}),
        (["--dilation", "2", "--bias", "-0.5"], {"dilation": 2, "bias": -0.5}),
        (["--map", "conv", "--padding", "1"], {"op": "conv", "padding": 1}),
        (["--view", "matrix"], {"view": "matrix"}),
    ],
)
def test_options_are_arguments(capsys, arguments, fields):
    view = fields.pop("view", None)
    expected = us.explain([[1, 2], [3, 4]], [[5, -6], [7, 8]], **fields).text(view, width=100)
    code, out, _ = run(capsys, "explain", "--input", "1,2;3,4", "--kernel", "5 -6; 7 8", *arguments)
    assert (code, out) == (0, expected + "\n")


@pytest.mark.parametrize(
    ("grid", "shape"), [("3x4", (3, 4)), ("5x", (5,)), ("2x3x2", (2, 3, 2)), ("1 2 3", (3,)), ("1 2;", (1, 2)), ("1;2 | 3;4", (2, 2, 1))]
)  # fmt: skip
def test_grids(capsys, grid, shape):
    kernel = "x".join("1" * len(shape)) + "x" * (len(shape) == 1)
    code, out, _ = run(capsys, "explain", "--input", grid, "--kernel", kernel)
    assert code == 0
    assert f"input {'×'.join(map(str, shape))}, kernel" in out


def test_seeds(capsys):
    def out(seed):
        return run(capsys, "explain", "--input", "4x4", "--kernel", "3x3", "--seed", seed)[1]

    assert out("1") == out("1") != out("2")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_with_their_notes(capsys, name):
    _, out, _ = run(capsys, "explain", "--preset", name)
    assert out.startswith(PRESETS[name].title)
    assert " ".join(PRESETS[name].note.split()) in " ".join(out.split())


def test_a_preset_can_be_changed(capsys):
    _, out, _ = run(capsys, "explain", "--preset", "example-2", "--padding", "1", "--view", "grid")
    assert out == PRESETS["example-4"].trace().text("grid", width=100) + "\n"


def test_code_is_the_program_alone(capsys):
    _, out, _ = run(capsys, "explain", "--stride", "2", "--code", "numpy")
    names = {}
    exec(out, names)
    np.testing.assert_array_equal(names["y"], PRESETS["worked-2"].trace().output)
    capsys.readouterr()


def test_settings(capsys):
    _, out, _ = run(capsys, "explain", "--stride", "2", "--kernel", "3x3", "--padding", "same", "--settings")
    assert "Keras\n  keras.layers.Conv2DTranspose(" in out
    assert "PyTorch\n  no single call: its crops are" in out


def test_steps_in_a_pipe_are_all_of_them(capsys):
    _, out, _ = run(capsys, "explain", "--preset", "example-4", "--step")
    trace = PRESETS["example-4"].trace()
    for step in range(10):
        assert trace.text(step=step, width=100) in out
    assert out.count("Step ") == 11
    assert out.count("Step 9 of 9, view scatter") == 2  # the last copy, and the crop, which adds none
    assert out.startswith("Step 0 of 9, view scatter\n\nNothing is done yet: these are the input and the kernel.\n")


@pytest.mark.parametrize("view", ["scatter", "grid", "matrix", "overlap", "gradient"])
def test_steps_begin_at_0_with_what_is_given(capsys, view):
    _, out, _ = run(capsys, "explain", "--preset", "worked-1", "--step", "--view", view)
    first, *later = out.split("─" * 40)
    steps = PRESETS["worked-1"].trace().steps(view)
    count = sum(step.cell is not None for step in steps)
    assert first.startswith(f"Step 0 of {count}, view {view}")
    # A step is a cell: none while a grid is made ready, none for a summary.
    assert [text.split()[1] for text in later] == [str(step.number) for step in steps]
    assert steps[-1].number == count
    assert "output" not in first
    assert "gradient of" not in first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--padding", "much"], "--padding is 'much'; expected a number, one an axis (1,0), a begin:end pair"),
        (["--padding", "1:2:3"], "--padding is '1:2:3'"),
        (["--stride", "a"], "--stride is 'a'; expected a number, or one an axis: 2,1"),
        (["--stride", "0"], "--stride is 0; expected an integer of at least 1"),
        (["--stride", "1,2,3"], "--stride has 3 entries"),
        (["--output-padding", "-1"], "--output-padding is -1"),
        (["--input", "1 a"], "--input is '1 a'; expected numbers in rows apart by ;"),
        (["--input", "1 2; 3"], "--input is [[1.0, 2.0], [3.0]]; expected a grid whose rows are equally long"),
        (["--input", "0x3"], "--input has shape (0, 3)"),
        (["--input", "nan 1; 2 3"], "--input has entries that are infinite or not a number"),
        (["--input", "99x99", "--kernel", "9x9"], "--input of shape (99, 99) with a --kernel of shape (9, 9)"),
        (["--map", "deconv"], "map is 'deconv'; expected 'conv_transpose' or 'conv'"),
        (["--preset", "example-9"], "--preset is 'example-9'; expected one of worked-1"),
        (["--view", "side"], "view is 'side'; expected one of 'scatter'"),
        (["--code", "caffe"], "--code is 'caffe'; expected one of 'keras', 'torch'"),
        (["--code", "torch", "--step"], "--step and --code are given together; give one of them"),
        (["--bias", "x"], "'x' is not a valid float"),
    ],
)
def test_errors_are_one_line(capsys, arguments, words):
    code, out, err = run(capsys, "explain", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("unstride: error: ")
    assert words in err
    assert err.count("\n") == 1


def test_files(capsys, tmp_path):
    for kind, begins in (("svg", b"<"), ("png", b"\x89PNG"), ("gif", b"GIF8"), ("html", b"<!")):
        path = tmp_path / f"trace.{kind}"
        code, out, err = run(capsys, "explain", "--stride", "2", f"--{kind}", str(path))
        assert (code, out, err) == (0, f"{path} written\n", "")
        assert path.read_bytes().lstrip().startswith(begins)


def test_a_file_that_cannot_be_written_is_told(capsys, tmp_path):
    code, _, err = run(capsys, "explain", "--svg", str(tmp_path / "none" / "trace.svg"))
    assert code == 2
    assert "trace.svg" in err
    assert err.count("\n") == 1


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *arguments, **environment):
        self.master, slave = pty.openpty()
        settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40", **environment}
        settings = {name: value for name, value in settings.items() if value is not None}
        code = "import sys; from unstride.__main__ import main; sys.exit(main())"
        command = [sys.executable, "-c", code, *arguments]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=settings, close_fds=True)
        os.close(slave)
        self.seen = ""

    def until(self, words, seconds=60):
        """What is shown until `words` come; they must."""
        end, found = time.monotonic() + seconds, ""
        while words not in found:
            ready, _, _ = select.select([self.master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no {words!r} in {found!r}"
            found += os.read(self.master, 65536).decode()
        return found

    def key(self, key):
        """Pressed when the program waits for a key: before that, the terminal would keep it for a line."""
        end = time.monotonic() + 60
        while termios.tcgetattr(self.master)[3] & termios.ICANON:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.write(self.master, key.encode())

    def end(self):
        return self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_stepping_by_key():
    with Terminal("explain", "--preset", "worked-2", "--step", NO_COLOR="1") as terminal:
        first = terminal.until("q: quit")
        assert "Step 0 of 4" in first
        assert "b: back" not in first
        for key, step in (
            ("\r", 1),
            (" ", 2),
            ("b", 1),
            ("\x1b[C", 2),
            ("n", 3),
            ("n", 4),
            ("\r", 4),
            ("\x1b[D", 3),
            ("z", 3),
        ):
            terminal.key(key)
            shown = terminal.until("q: quit")
            assert f"Step {step} of 4" in shown
            assert ("Enter: next" in shown) == (step < 4)
        terminal.key("q")
        assert terminal.end() == 0


def test_colour_in_a_terminal_unless_it_is_refused():
    for refused in (None, "1"):
        with Terminal("explain", "--preset", "worked-2", NO_COLOR=refused) as terminal:
            shown = terminal.until("--code torch")
            assert ("\x1b[" in shown) == (refused is None)
            assert terminal.end() == 0


def quiz(monkeypatch, capsys, typed, *arguments):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return run(capsys, "quiz", *arguments)


def test_quiz(monkeypatch, capsys):
    from unstride.explainer.quiz import questions

    made = list(questions(7, 3))
    right = ["abcd"[question.answer] for question in made]
    code, out, _ = quiz(monkeypatch, capsys, "\n".join(right) + "\n", "--seed", "7", "--count", "3")
    assert code == 0
    assert out.count("Right. ") == 3
    assert out.endswith("3 of 3 right.\n")
    wrong = "abcd"[(made[0].answer + 1) % 4]
    _, out, _ = quiz(monkeypatch, capsys, f"z\n{wrong.upper()})\nq\n", "--seed", "7", "--count", "3")
    assert "'z' is none of a, b, c, d." in out
    assert made[0].judge((made[0].answer + 1) % 4, 100) in out
    assert out.endswith("0 of 1 right.\n")
    assert quiz(monkeypatch, capsys, "", "--seed", "7")[1].endswith("No question answered.\n")


def test_quiz_draws_a_seed_and_says_it(monkeypatch, capsys):
    _, out, _ = quiz(monkeypatch, capsys, "q\n")
    seed = out.split("(seed ")[1].split(")")[0]
    assert quiz(monkeypatch, capsys, "q\n", "--seed", seed)[1] == out


def test_quiz_count_is_checked(monkeypatch, capsys):
    code, _, err = quiz(monkeypatch, capsys, "", "--count", "0")
    assert code == 2
    assert "0 is not in the range 1<=x<=100" in err
