"""The backend that Keras gets when our modules import it: the user's, or else one that is installed."""

from __future__ import annotations

import ast
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import unstride
from unstride.app.training import environment
from unstride.backends.keras import keras_backend
from unstride.backends.keras.keras_backend import Choice, NoBackend, choice

FRAMEWORKS = ("jax", "torch", "tensorflow")
MODULES = ("jax", "jaxlib", "torch", "tensorflow")
WRITTEN = '{"floatx": "float32", "epsilon": 1e-07, "backend": "tensorflow", "image_data_format": "channels_last"}'
SOURCES = Path(unstride.__file__).parent


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As if Keras had not been imported, and nobody had chosen anything. Returns how to say what is installed."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras_backend, "_taken", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def install(*names: str) -> None:
        monkeypatch.setattr(keras_backend, "is_installed", lambda name: name in names)

    return install


@pytest.mark.slow
@pytest.mark.parametrize("installed", [c for n in range(4) for c in itertools.combinations(FRAMEWORKS, n)])
@pytest.mark.parametrize("file", [None, "written", "broken", "[]", "{}", *FRAMEWORKS])
@pytest.mark.parametrize("named", [None, "", *FRAMEWORKS])
def test_every_case_of_what_is_installed_and_what_was_chosen(fresh, monkeypatch, tmp_path, installed, file, named):
    fresh(*installed)
    path = tmp_path / "keras.json"
    if file is not None:
        text = {"written": WRITTEN, "broken": "{"}.get(file) or (
            json.dumps({"backend": file}) if file in FRAMEWORKS else file
        )
        path.write_text(text)
    if named is not None:
        monkeypatch.setenv("KERAS_BACKEND", named)
    first = installed[0] if installed else None
    if named:
        expected, words = (named if named in installed else None), f"KERAS_BACKEND is '{named}'"
    elif file in FRAMEWORKS and (file in installed or file != "tensorflow"):
        expected, words = (file if file in installed else None), str(path)
    else:
        expected, words = first, 'is installed; pip install "unstride[keras]"'
    if expected is None:
        with pytest.raises(ImportError) as caught:
            choice()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "install" in str(caught.value)
        assert isinstance(caught.value, NoBackend) == (words.startswith("is installed"))
    else:
        made = choice()
        assert made.backend == expected
        why = "KERAS_BACKEND is set" if named else str(path) if file == expected else "none was chosen"
        assert why in made.reason


def test_the_command_line_has_the_same_rule(fresh, monkeypatch, tmp_path):
    fresh("torch", "tensorflow")
    assert environment.default_backend() == "torch"
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    assert environment.default_backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    with pytest.raises(environment.EnvironmentProblem, match=r"keras\.json names the backend 'jax', which is not inst"):
        environment.default_backend()
    fresh("openvino")
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    with pytest.raises(
        environment.EnvironmentProblem, match=r"unknown backend 'openvino' \(KERAS_BACKEND is set to it"
    ):
        environment.default_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    fresh()
    (tmp_path / "keras.json").unlink()
    with pytest.raises(environment.EnvironmentProblem, match="not installed"):  # which may be Keras itself
        environment.require(environment.default_backend())


def test_a_folder_with_the_name_of_a_framework_is_none(tmp_path, monkeypatch):
    (tmp_path / "a_backend_of_no_one").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not keras_backend.is_installed("a_backend_of_no_one")
    assert not keras_backend.is_installed("a backend.of no one")
    assert keras_backend.is_installed("numpy")


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/proc/nowhere", None])
def test_keras_json_is_where_keras_has_it(monkeypatch, tmp_path, home):
    monkeypatch.chdir(tmp_path)  # where Keras makes the folder "~"
    monkeypatch.delenv("KERAS_HOME", raising=False)
    if home is None:
        monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    else:
        monkeypatch.setenv("HOME", home)
    code = "import keras.src.backend.config as c; print(c._config_path)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert str(keras_backend.config_file()) == done.stdout.strip()


@pytest.mark.slow
def test_keras_is_imported_in_one_place():
    """Any other import at run time could come first, and choose no backend."""
    found = []
    for file in SOURCES.rglob("*.py"):
        tree = ast.parse(file.read_text())
        typing = [
            node for at in ast.walk(tree)
            if isinstance(at, ast.If) and ast.unparse(at.test) == "TYPE_CHECKING" for node in ast.walk(at)
        ]  # fmt: skip
        for node in ast.walk(tree):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(name.split(".")[0] == "keras" for name in names) and node not in typing:
                found.append(file.relative_to(SOURCES))
    inside = {file for file in found if file.parts[0] == "keras" and file.name != "__init__.py"}
    assert set(found) - inside == {Path("backends/keras/imported.py")}


BLOCKER = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {blocked} else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def process(code, home, blocked=(), **variables):
    """A process of its own, in which the modules `blocked` cannot be imported."""
    before = BLOCKER.format(blocked=list(blocked))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "KERAS_HOME", "HOME")
    }
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", before + code],
        capture_output=True,
        text=True,
        env=environment | {"HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"} | variables,
    )


README = """
import logging
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
logging.getLogger("unstride").setLevel("INFO")
from unstride.keras import Conv2DTranspose
import keras
from unstride.backends.keras import keras_backend
print(Conv2DTranspose(4, 4, strides=2, padding="same")(keras.ops.ones((1, 2, 2, 1))).shape)
print(keras.config.backend())
print(keras_backend.choice())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocked", "backend"),
    [(("tensorflow",), "jax"), (("jax", "jaxlib"), "torch"), (("jax", "jaxlib", "torch"), "tensorflow")],
)
def test_layers_are_imported_with_what_is_installed_before_and_after_keras_wrote_its_file(blocked, backend, tmp_path):
    for _ in range(2 if backend == "jax" else 1):
        done = process(README, tmp_path, blocked)
        assert done.returncode == 0, done.stderr
        shape, name, why = done.stdout.splitlines()
        assert "4" in shape
        assert name == backend
        assert why.startswith(f"{backend}: none was chosen, and it is the first that is installed")
        assert f"unstride INFO Keras backend {why}" in done.stderr
        assert json.loads((tmp_path / ".keras" / "keras.json").read_text())["backend"] == "tensorflow"


@pytest.mark.slow
@pytest.mark.parametrize("home", ["", "/proc/nowhere"])
def test_a_home_that_is_none_or_cannot_be_written_to(home):
    done = process("import unstride.models as m; print(m.autoencoder().count_params())", home, ("tensorflow",))
    assert (done.returncode, done.stdout) == (0, "12785\n"), done.stderr


@pytest.mark.slow
def test_what_an_import_of_keras_that_failed_left_behind_does_not_count(tmp_path):
    code = """
try:
    import keras
except ImportError as error:
    print(error)
print(any(name.startswith("keras.") for name in sys.modules))
import unstride.keras, keras
print(keras.config.backend())
"""
    done = process(code, tmp_path, ("tensorflow", "jax", "jaxlib"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["True", "torch"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["environment", "file", "import"])
def test_the_users_choice_stays(how, tmp_path):
    variables, code = {}, "import unstride.keras, keras; print(keras.config.backend())\n"
    if how == "environment":
        variables = {"KERAS_BACKEND": "torch"}
    elif how == "file":
        (tmp_path / ".keras").mkdir()
        (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch"}')
    else:
        code = (
            "import os; os.environ['KERAS_BACKEND'] = 'torch'\nimport keras\ndel os.environ['KERAS_BACKEND']\n" + code
        )
    code += "from unstride.backends.keras import keras_backend\nfrom unstride.app.training import environment\nprint(keras_backend.choice())\n"
    code += "print(environment.default_backend())"
    done = process(code, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    backend, why, default = done.stdout.splitlines()
    assert backend == default == "torch"
    reason = {"environment": "KERAS_BACKEND", "file": "keras.json names it", "import": "Keras was imported with it"}
    assert reason[how] in why


@pytest.mark.parametrize(
    "module", ["unstride.keras", "unstride.models._layers", "unstride.app.training.training", "models"]
)
@pytest.mark.parametrize(
    ("blocked", "file", "message"),
    [
        (MODULES, None, 'Keras has no backend here: none of jax, torch, tensorflow is installed; pip install "unstride[keras]"'),
        (("keras",), None, 'unstride.keras needs Keras 3.15 or later: pip install "unstride[keras]"'),
        ((), "nonsense", "{file} names the backend 'nonsense'; expected one of jax, torch, tensorflow, or change \"backend\" there"),
        (("torch",), "torch", "{file} names the backend 'torch', which is not installed; pip install \"unstride[torch]\", or change \"backend\" there"),
    ],
)  # fmt: skip
def test_one_line_says_what_to_install(module, blocked, file, message, tmp_path):
    path = tmp_path / ".keras" / "keras.json"
    if file is not None:
        path.parent.mkdir()
        path.write_text(json.dumps({"backend": file}))
    work = "import unstride.models as m; m.autoencoder()" if module == "models" else f"import {module}"
    done = process(f"try:\n    {work}\nexcept ImportError as error:\n    print(error)", tmp_path, blocked)
    assert done.stdout == message.format(file=path) + "\n", done.stderr


def test_an_import_that_fails_chooses_nothing(tmp_path):
    broken = tmp_path / "site"
    (broken / "jax").mkdir(parents=True)
    (broken / "jax" / "__init__.py").write_text("raise RuntimeError('broken')")
    code = "try:\n    import unstride.keras\nexcept RuntimeError: pass\nimport os; print([os.environ['KERAS_BACKEND']])"
    path = os.pathsep.join([str(broken), *sys.path])
    done = process(code, tmp_path, PYTHONPATH=path)
    assert done.stdout == "['']\n", done.stderr


def test_the_answer_reads_well():
    assert str(Choice("jax", "KERAS_BACKEND is set to it")) == "jax: KERAS_BACKEND is set to it"


def test_a_backend_that_is_named_on_the_command_line_needs_no_other_choice(monkeypatch, capsys):
    from unstride.app import cli

    def refuse() -> str:
        raise environment.EnvironmentProblem("the choice was asked for")

    monkeypatch.setattr(environment, "default_backend", refuse)
    for arguments, message in ((["--backend", "jax"], "--epochs is 0"), ([], "the choice was asked for")):
        assert cli.main(["train", "--epochs", "0", *arguments]) == 2
        assert message in capsys.readouterr().err
