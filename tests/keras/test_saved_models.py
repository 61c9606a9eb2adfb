"""Saved models with our layers: they open in Keras without unstride where it has what they do, and say what is missing
where it has not; where unstride.keras has been imported, the layers are ours again."""

import copy
import itertools
import json
import os
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unstride as us
import unstride.keras as uk
from unstride.geometry import GeometryError
from unstride.keras._layers import geometry_of
from unstride.models._layers import CropLike, DepthToSpace

CLASSES = {1: (uk.Conv1D, uk.Conv1DTranspose), 2: (uk.Conv2D, uk.Conv2DTranspose), 3: (uk.Conv3D, uk.Conv3DTranspose)}
ADD_THE_LINE = "to load this model, add the line: import unstride.keras)"


@st.composite
def settings(draw):
    """A layer's class and arguments, with what Keras has and what it lacks about equally often."""
    rank = draw(st.integers(1, 2))
    transposed = draw(st.booleans())
    numbers = st.lists(st.integers(1, 4), min_size=rank, max_size=rank)
    ends = st.integers(-1, 2)
    arguments = {
        "kernel_size": draw(numbers),
        "strides": draw(st.sampled_from([1, 2, 3]) | numbers),
        "dilation_rate": draw(st.sampled_from([1, 1, 2])),
        "padding": draw(
            st.sampled_from(["valid", "same", 0, 1])
            | st.lists(st.tuples(ends, ends), min_size=rank, max_size=rank).map(tuple)
        ),
        "groups": draw(st.sampled_from([1, 1, 2])),
        "data_format": draw(st.sampled_from(["channels_last", "channels_first"])),
    }
    if transposed:
        arguments["output_padding"] = draw(st.none() | st.integers(0, 3))
    return CLASSES[rank][transposed], arguments


def alternatives(layer):
    """Every layer of Keras's own with this kernel, strides, dilation and groups."""
    kind = getattr(keras.layers, type(layer).__name__)
    arguments = {"kernel_size": layer.kernel_size, "strides": layer.strides, "dilation_rate": layer.dilation_rate}
    extras = [{}]
    if isinstance(layer, uk.Conv1DTranspose | uk.Conv2DTranspose):
        if layer.groups > 1:
            return
        extras += [{"output_padding": op} for op in itertools.product(*map(range, layer.strides))]
    else:
        arguments["groups"] = layer.groups
    for padding, extra in itertools.product(("valid", "same"), extras):
        try:
            yield kind(4, padding=padding, **arguments, **extra)
        except ValueError:
            continue


def same(one, other):
    """Whether two layers mean the same at every size."""
    try:
        return all(geometry_of(one, (n,) * one.rank) == geometry_of(other, (n,) * one.rank) for n in range(20, 27))
    except GeometryError:
        return False


@given(settings())
def test_a_layer_is_saved_as_keras_s_own_exactly_where_keras_has_it(case):
    kind, arguments = case
    try:
        layer = kind(4, **arguments)
    except GeometryError:
        return
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert saved["class_name"] == kind.__name__
    own = getattr(keras.layers, kind.__name__)
    if saved["module"] == "keras.src.layers":  # as Keras opens it where nobody knows the registered name
        assert getattr(keras.src.layers, kind.__name__) is own
        assert same(own.from_config(saved["config"]), layer)
    else:
        assert saved["module"] == "keras.layers"
        assert saved["registered_name"].endswith(ADD_THE_LINE)
        assert not any(same(layer, other) for other in alternatives(layer))
    again = keras.saving.deserialize_keras_object(saved)
    assert isinstance(again, kind)
    assert type(again) is type(layer)
    assert same(again, layer)
    assert again.get_config() == layer.get_config()
    again = type(layer).from_config(layer.get_config())
    assert isinstance(again, kind)
    assert same(again, layer)


def test_a_field_that_is_set_by_hand_counts():
    layer = uk.Conv2DTranspose(4, 3, strides=2)
    assert keras.saving.serialize_keras_object(layer)["module"] == "keras.src.layers"
    layer.padding = ((1, 0), (0, -2))
    assert keras.saving.serialize_keras_object(layer)["module"] == "keras.layers"
    layer.padding = "same"
    assert keras.saving.serialize_keras_object(layer)["config"]["padding"] == "same"
    assert keras.saving.serialize_keras_object(layer)["module"] == "keras.src.layers"


def test_copies_stay_ours():
    for arguments in ({"padding": "same"}, {"padding": ((1, 0), (0, -2))}):
        layer = uk.Conv2DTranspose(4, 3, strides=2, **arguments)
        layer.build((None, 5, 5, 2))
        for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert isinstance(again, uk.Conv2DTranspose)
            assert again.padding == layer.padding
            np.testing.assert_array_equal(again.get_weights()[0], layer.get_weights()[0])
        model = keras.Sequential([keras.Input((5, 5, 2)), layer])
        for again in (copy.deepcopy(model), keras.models.clone_model(model)):
            assert isinstance(again.layers[0], uk.Conv2DTranspose)


def test_a_layer_of_a_users_own_is_saved_as_it_says():
    @keras.saving.register_keras_serializable("mine")
    class Mine(uk.Conv2DTranspose):
        pass

    layer = Mine(4, 3, groups=2)
    assert type(layer) is Mine
    saved = keras.saving.serialize_keras_object(layer)
    assert saved["registered_name"] == "mine>Mine"
    assert saved["config"]["groups"] == 2
    assert type(keras.saving.deserialize_keras_object(saved)) is Mine


def models():
    """Some that Keras can open, by name, and some that it cannot."""
    image = keras.Input((8, 8, 4))
    plain = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            uk.Conv2D(4, 3, padding=1, activation="relu"),
            uk.Conv2D(4, 3, strides=2, padding="same", groups=2),
            uk.Conv2DTranspose(6, 4, strides=2, padding=1),
            uk.Conv2DTranspose(3, 2, strides=3, padding="same", output_padding=2),
        ]
    )
    line = keras.Sequential([keras.Input((9, 2)), uk.Conv1D(3, 2, padding="causal"), uk.Conv1DTranspose(2, 5)])
    nested = keras.Model(image, keras.Sequential([uk.Conv2DTranspose(4, 4, strides=2, groups=2)])(image))
    mapped = keras.Model(image, us.conv(image, np.ones((2, 2, 4, 1), "f"), padding=1))
    pairs = keras.Sequential([keras.Input((8, 8, 4)), uk.Conv2D(3, 3, padding=((1, 0), (0, -2)))])
    return {"plain": plain, "line": line}, {"nested": nested, "mapped": mapped, "pairs": pairs}


@pytest.mark.slow
def test_models_open_without_unstride_or_say_which_line_to_add(tmp_path):
    opened, refused = models()
    results = {}
    for name, model in (opened | refused).items():
        model.save(tmp_path / f"{name}.keras")
        x = np.random.default_rng(1).random((2, *model.input_shape[1:]), np.float32)
        results[name] = model.predict(x, verbose=0)
        np.save(tmp_path / f"{name}.npy", x)
    code = f"""
import json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "unstride":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import keras, numpy as np
for name in {list(opened)}:
    model = keras.models.load_model(name + ".keras")
    np.save(name + "-found.npy", model.predict(np.load(name + ".npy"), verbose=0))
errors = {{}}
for name in {list(refused)}:
    try:
        keras.models.load_model(name + ".keras")
    except Exception as error:
        errors[name] = str(error)
print(json.dumps(errors))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"KERAS_BACKEND": keras.config.backend()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in opened:
        np.testing.assert_allclose(np.load(tmp_path / f"{name}-found.npy"), results[name], atol=1e-5)
    errors = json.loads(done.stdout.splitlines()[-1])
    assert list(errors) == list(refused)
    for message in errors.values():
        beginning = message[:200]
        assert beginning.startswith("`registered_name='unstride>")
        assert ADD_THE_LINE in beginning
        assert len(message) < 2500
    for name, model in (opened | refused).items():  # and here, where unstride.keras is imported, they all open
        again = keras.models.load_model(tmp_path / f"{name}.keras")
        x = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(again.predict(x, verbose=0), results[name])
        assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]


def test_files_of_before_load(tmp_path):
    """In which the layers, the maps and two layers that the models had are registered by their plain names."""
    opened, refused = models()
    image = keras.Input((4, 4, 8))
    older = keras.Model(image, DepthToSpace(2)(CropLike()([image, image])))
    for name, model in (opened | refused | {"older": older}).items():
        model.save(tmp_path / "new.keras")
        with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / f"{name}.keras", "w") as old:
            for file in new.namelist():
                content = new.read(file)
                if file == "config.json":
                    content = json.dumps(_as_before(json.loads(content))).encode()
                    assert ADD_THE_LINE.encode() not in content
                old.writestr(file, content)
        x = np.random.default_rng(2).random((2, *model.input_shape[1:]), np.float32)
        again = keras.models.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def _as_before(saved):
    if isinstance(saved, list):
        return [_as_before(entry) for entry in saved]
    if not isinstance(saved, dict):
        return saved
    saved = {key: _as_before(value) for key, value in saved.items()}
    if str(saved.get("registered_name")).startswith("unstride>"):
        name = saved["registered_name"].removeprefix("unstride>").split(" (")[0]
        module = {"Map": "unstride._dispatch.symbolic"}.get(name, "unstride.keras")
        saved |= {"registered_name": f"unstride>{name}", "class_name": name, "module": module}
        if name.startswith("Conv"):
            saved["config"].setdefault("groups", 1)
    return saved
