"""A trace's numbers against the definitions, over the whole parameter space."""

import json

import numpy as np
import pytest
from cases import situations
from hypothesis import given, settings
from hypothesis import strategies as st

import unstride as us
from unstride import reference
from unstride.explainer import steps as steps_module
from unstride.explainer.presets import PRESETS, preset
from unstride.explainer.settings import written_ends
from unstride.explainer.trace import VIEWS, Trace


@st.composite
def traces(draw, ranks=(1, 2, 3), maps=("conv_transpose", "conv")):
    """Asymmetric random numbers, with and without a bias and an upstream gradient."""
    geometry, size, rng = draw(situations(ranks=ranks, most_groups=1))
    kind = draw(st.sampled_from(maps))
    big = tuple(max(n, 1) for n in geometry.output_size(size))
    if 0 in geometry.output_size(size):
        geometry = geometry.fitted(size, big) if geometry.conv_size(big) == size else us.Geometry(geometry.kernel_size)
        big = geometry.output_size(size)
    x, y = (size, big) if kind == "conv_transpose" else (big, geometry.conv_size(big))
    bias = draw(st.sampled_from([None, -1.25]))
    upstream = rng.standard_normal(y) if draw(st.booleans()) else None
    kernel = rng.standard_normal(geometry.kernel_size)
    return us.explain(rng.standard_normal(x), kernel, bias, geometry, op=kind, upstream=upstream)


def bare(rule, x, kernel, geometry, bias=None):
    return rule(x[..., None], kernel[..., None, None], geometry, bias)[..., 0]


@given(traces())
def test_output_and_its_three_ways(trace):
    rule = reference.scatter if trace.transposed else reference.conv
    bias = trace.bias or 0.0
    expected = bare(rule, trace.input, trace.kernel, trace.geometry, trace.bias)
    np.testing.assert_array_equal(trace.output, expected)
    by_matrix = (trace.matrix @ trace.input.ravel()).reshape(trace.output_size) + bias
    np.testing.assert_allclose(by_matrix, expected, atol=1e-12)
    full = trace.full if not trace.transposed else reference.crop(trace.full, trace.crops)
    np.testing.assert_allclose(full + bias, expected, atol=1e-12)
    for cell in np.ndindex(trace.output_size):
        terms = trace.contributors(cell)
        assert all(term.output == cell for term in terms)
        assert sum(term.product for term in terms) + bias == pytest.approx(expected[cell], abs=1e-12)
        window = [trace.extended[place] for place in trace.window(cell)]
        slid = float(np.dot(window, trace.sliding_kernel.ravel()))
        assert slid + bias == pytest.approx(expected[cell], abs=1e-12)


@pytest.mark.slow
@given(traces())
@settings(max_examples=30)
def test_copies_and_running_sums(trace):
    cells = list(np.ndindex(trace.input.shape))
    total = np.zeros(trace.full_size)
    for index, cell in enumerate(cells):
        alone = np.zeros(trace.input.shape)
        alone[cell] = trace.input[cell]
        if trace.transposed:
            no_crop = trace.geometry.with_crops([(0, 0)] * trace.rank)
            expected = bare(reference.scatter, alone, trace.kernel, no_crop)
            reached = bare(reference.scatter, (alone != 0) * 1.0, np.ones(trace.kernel.shape), no_crop)
        else:
            expected = bare(reference.conv, alone, trace.kernel, trace.geometry)
            reached = bare(reference.conv, (alone != 0) * 1.0, np.ones(trace.kernel.shape), trace.geometry)
        np.testing.assert_array_equal(np.isnan(trace.copies[index]), reached == 0)
        np.testing.assert_allclose(np.nan_to_num(trace.copies[index]), expected, atol=1e-12)
        total += expected
        np.testing.assert_allclose(trace.running_sums[index], total, atol=1e-12)


@pytest.mark.slow
@given(traces())
def test_terms_by_input_and_by_tap(trace):
    kept = [term for term in trace.terms if term.output is not None]
    for name, touched, size in (
        ("input", trace.touched_by_input, trace.input.shape),
        ("tap", trace.touched_by_tap, trace.kernel.shape),
    ):
        found = [term for cell in np.ndindex(size) for term in touched(cell)]
        assert sorted(found, key=str) == sorted(trace.terms, key=str)
        assert all(getattr(term, name) == cell for cell in np.ndindex(size) for term in touched(cell))
    assert all(term.value == trace.input[term.input] and term.weight == trace.kernel[term.tap] for term in trace.terms)
    assert int(trace.overlap.sum()) == int(trace.reach.sum()) == int(trace.connected.sum()) == len(kept)
    assert [(term.input, term.tap) for term in trace.terms] == sorted((term.input, term.tap) for term in trace.terms)
    if trace.transposed:  # what is cropped off is told too
        assert len(trace.terms) == trace.input.size * trace.kernel.size


@given(traces())
def test_overlap_counts_terms(trace):
    ones = np.ones(trace.input.shape)
    rule = reference.scatter if trace.transposed else reference.conv
    np.testing.assert_array_equal(trace.overlap, bare(rule, ones, np.ones(trace.kernel.shape), trace.geometry))
    np.testing.assert_allclose(trace.response, bare(rule, ones, trace.kernel, trace.geometry), atol=1e-12)
    if trace.transposed:
        share = np.prod(trace.geometry.stride) / trace.kernel.size
        equal = bare(rule, ones, np.full(trace.kernel.shape, share), trace.geometry)
        np.testing.assert_allclose(trace.uniform, equal, atol=1e-12)


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3))
def test_even_is_what_the_middle_of_a_long_output_shows(k, s, d, p):
    K = (k - 1) * d + 1
    trace = us.explain(np.ones(60), np.ones(k), geometry=us.Geometry(k, s, p, None, d))
    middle = trace.overlap[K:-K]
    assert trace.even == (len(set(middle.tolist())) == 1)
    (taps,) = trace.phase_overlap
    assert [int(n) for n in trace.overlap[(K // s + 1) * s :][:s]] == list(taps)
    np.testing.assert_allclose(middle.mean() / trace.mean_overlap, 1, rtol=0.2)
    if trace.even:
        np.testing.assert_allclose(trace.uniform[K:-K], 1)


@given(traces())
def test_gradients_are_those_of_finite_differences(trace):
    rule = reference.scatter if trace.transposed else reference.conv

    def loss(x, kernel):
        return float((bare(rule, x, kernel, trace.geometry) * trace.upstream).sum())

    def differences(array, at):  # exact, as the loss is linear in either argument
        found = np.zeros(array.shape)
        for cell in np.ndindex(array.shape):
            one = np.zeros(array.shape)
            one[cell] = 1
            found[cell] = at(one)
        return found

    if trace.input.size * trace.kernel.size <= 60:
        by_input = differences(trace.input, lambda one: loss(one, trace.kernel))
        by_kernel = differences(trace.kernel, lambda one: loss(trace.input, one))
        np.testing.assert_allclose(trace.input_gradient, by_input, atol=1e-12)
        np.testing.assert_allclose(trace.kernel_gradient, by_kernel, atol=1e-12)
    assert trace.input_gradient.shape == trace.input.shape
    assert trace.bias_gradient == pytest.approx(trace.upstream.sum())


@pytest.mark.slow
@given(traces())
@settings(max_examples=40)
def test_steps_end_where_the_numbers_do(trace):
    bias = trace.bias or 0.0
    for view in VIEWS:
        steps = trace.steps(view)
        assert [step.index for step in steps] == list(range(len(steps)))
        for step in steps:
            assert set(step.boards) <= set(steps_module.BOARDS)
            assert set(step.active) <= set(step.boards)
            for name, cells in step.active.items():
                board = step.boards[name]
                assert all(len(cell) == board.ndim and all(0 <= a < n for a, n in zip(cell, board.shape, strict=True)) for cell in cells)  # fmt: skip
            json.dumps(step.to_dict(), allow_nan=False)
    copies = [step for step in trace.steps("scatter") if step.kind == "copy"]
    np.testing.assert_allclose(copies[-1].boards["sum"], trace.full, atol=1e-12)
    last = trace.steps("scatter")[-1]
    if last.kind != "copy":
        np.testing.assert_allclose(last.boards["output"], trace.output, atol=1e-12)
    np.testing.assert_array_equal(trace.steps("grid")[-1].boards["output"], trace.output)
    np.testing.assert_array_equal(trace.steps("matrix")[-1].boards["output_column"].ravel(), trace.output.ravel())
    assert trace.steps("overlap")[-1].kind == "evenness"
    counted = [step for step in trace.steps("overlap") if step.kind == "count"]
    np.testing.assert_array_equal(counted[-1].boards["overlap"], trace.overlap)
    gradients = trace.steps("gradient")
    for kind, expected in (("input_gradient", trace.input_gradient), ("kernel_gradient", trace.kernel_gradient)):
        made = [step for step in gradients if step.kind == kind]
        np.testing.assert_array_equal(made[-1].boards[kind], expected)
    for step in trace.steps("grid"):
        if step.kind == "window":
            slides = step.boards.get("flipped", step.boards.get("kernel"))
            under = np.array([step.boards["extended"][cell] for cell in step.active["extended"]])
            assert float(under @ slides.ravel()) + bias == pytest.approx(trace.output[step.cell], abs=1e-12)


def test_the_flipped_kernels_active_taps_lie_over_their_input_cells():
    trace = us.explain([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6]], stride=2)
    for step in trace.steps("grid"):
        if step.kind != "window":
            continue
        places = dict(zip(np.ndindex(trace.kernel.shape), step.active["extended"], strict=True))
        values = sorted(float(step.boards["extended"][places[tap]]) for tap in step.active["flipped"])
        assert values == sorted(term.value for term in step.terms)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [  # input, grid that the kernel moves over, output: the reading's figures
        ("worked-1", ((2, 2), (4, 4), (3, 3))),
        ("worked-2", ((2, 2), (5, 5), (4, 4))),
        ("example-1", ((6, 6), (8, 8), (4, 4))),
        ("example-2", ((3, 3), (7, 7), (6, 6))),
        ("example-3", ((3, 3), (5, 5), (4, 4))),
        ("example-3-5x5", ((5, 5), (7, 7), (6, 6))),
        ("example-4", ((3, 3), (5, 5), (4, 4))),
    ],
)
def test_presets_have_the_readings_sizes(name, sizes):
    trace = PRESETS[name].trace()
    assert (trace.input.shape, trace.extended.shape, trace.output.shape) == sizes
    assert trace.op == ("conv" if name == "example-1" else "conv_transpose")


def test_worked_examples_are_the_readings_tables():
    first, second = PRESETS["worked-1"].trace(), PRESETS["worked-2"].trace()
    assert first.output.tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
    assert second.output.tolist() == [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]
    blank = np.nan
    np.testing.assert_array_equal(first.copies[1], [[blank, 0, 1], [blank, 2, 3], [blank] * 3])
    np.testing.assert_array_equal(first.copies[2], [[blank] * 3, [0, 2, blank], [4, 6, blank]])
    empty = [blank] * 4
    np.testing.assert_array_equal(second.copies[3], [empty, empty, [blank, blank, 0, 3], [blank, blank, 6, 9]])


def test_checkerboard_presets():
    assert not PRESETS["checkerboard"].trace().even
    assert PRESETS["even"].trace().even


def test_unknown_preset_lists_the_known():
    with pytest.raises(us.GeometryError, match="preset is 'example-5'; expected one of worked-1, worked-2"):
        preset("example-5")


def test_names_mean_what_they_mean_in_each_map():
    x, kernel = np.arange(8.0), [1.0, 2.0, 3.0]
    assert us.explain(x, kernel, stride=2, padding="same").output.shape == (16,)
    assert us.explain(x, kernel, stride=2, padding="same", op="conv").output.shape == (4,)
    assert us.explain(x, kernel, stride=2, padding="same", op="conv").crops == ((0, 1),)


def test_steps_that_change_nothing_are_left_out():
    assert [step.kind for step in us.explain([1, 2], [3], padding=0).steps("grid")] == ["window"] * 2
    assert [step.kind for step in us.explain([1, 2], [3, 4], 0.0).steps("scatter")] == ["copy", "copy", "bias"]
    assert [step.kind for step in us.explain([1, 2], [3, 4], padding=1).steps("scatter")] == ["copy", "copy", "crop"]


def test_settings_say_what_each_framework_is_asked_for():
    trace = us.explain(np.zeros((3, 3)), np.ones((3, 3)), stride=2, padding="same")
    assert trace.settings["torch"].reason is not None
    assert trace.settings["torch"].crops == ((0, 1), (0, 1))
    assert trace.settings["keras"].text == (
        "keras.layers.Conv2DTranspose(kernel_size=(3, 3), strides=(2, 2), padding='same')"
    )


@given(traces(maps=("conv",)))
def test_a_convolutions_settings_are_right(trace):
    """The arguments, read by the rules of each framework, lead to the same windows."""
    for name, setting in trace.settings.items():
        if setting.reason is not None or setting.arguments is None:
            continue
        arguments = setting.arguments
        if name == "onnx":
            flat = arguments["pads"]
            crops = list(zip(flat[: trace.rank], flat[trace.rank :], strict=True))
        elif name == "jax":
            crops = arguments["padding"]
        elif isinstance(arguments["padding"], str):
            crops = arguments["padding"].lower()
        elif name == "torch":
            crops = [(p, p) for p in arguments["padding"]]
        else:
            crops = arguments["padding"][1:-1]
        again = us.explain(
            trace.input,
            trace.kernel,
            trace.bias,
            op="conv",
            stride=trace.geometry.stride,
            padding=crops,
            dilation=trace.geometry.dilation,
        )
        np.testing.assert_array_equal(again.output, trace.output)


def test_the_size_formula_has_the_numbers():
    (line,) = us.explain(np.ones(5), np.ones(3), stride=2, padding=[(1, -1)], dilation=2).size_formula
    assert line == "output = (n − 1)·s + (k − 1)·d + 1 − b − e + op = (5 − 1)·2 + (3 − 1)·2 + 1 − 1 − (−1) + 0 = 13"


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"padding": 1}, "− 2p + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 0 = 7"),
        ({"padding": 1, "output_padding": 1}, "− 2p + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 1 = 8"),
        ({"padding": [(1, 0)], "output_padding": 1}, "− b − e + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 1 − 0 + 1 = 9"),
        ({"padding": [(1, 1)], "output_padding": [1]}, "− 2p + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 1 = 8"),
        ({"padding": -1}, "− 2p + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 2·(−1) + 0 = 11"),
        ({"padding": "same"}, "− b − e + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 0 − 1 + 0 = 8"),
        ({"padding": "same", "output_padding": 1}, "− 2p + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 1 = 8"),
        ({"padding": "valid", "stride": 5}, "− 2p + op = (4 − 1)·5 + (3 − 1)·1 + 1 − 2·0 + 2 = 20"),
        ({"geometry": us.Geometry(3, 2, 1, 1)}, "− 2p + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 1 = 8"),
        ({"geometry": us.Geometry(3, 2, [(0, 1)])}, "− b − e + op = (4 − 1)·2 + (3 − 1)·1 + 1 − 0 − 1 + 0 = 8"),
    ],
)
def test_the_size_formula_shows_output_padding_as_it_was_written(fields, ends):
    stride = {} if "geometry" in fields else {"stride": 2}
    (line,) = us.explain(np.ones(4), np.ones(3), **stride | fields).size_formula
    assert line == f"output = (n − 1)·s + (k − 1)·d + 1 {ends}"


@given(traces())
def test_the_written_ends_are_the_crops(trace):
    for (b, e, op), (begin, end) in zip(written_ends(trace), trace.geometry.crops, strict=True):
        assert b + e - op == begin + end
        assert op >= 0


@given(traces())
def test_the_size_formula_is_right(trace):
    for line, size in zip(trace.size_formula, trace.output_size, strict=True):
        numbers, result = line.split(" = ")[2:]
        program = numbers.replace("−", "-").replace("·", "*").replace("⌊", "(").replace("⌋", ")").replace(" / ", " // ")
        assert eval(program) == int(result) == size


def test_arrays_are_read_only_and_copies_of_the_arguments():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    trace = us.explain(x, x)
    x[0, 0] = 99
    assert trace.input[0, 0] == trace.kernel[0, 0] == 1
    for name in ("input", "kernel", "output", "full", "extended", "overlap", "upstream", "kernel_gradient"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(trace, name)[0] = 0


def test_what_numpy_takes_is_taken():
    expected = us.explain([[0, 1], [2, 3]], [[1, 2], [3, 4]]).output
    for kind in (np.float32, np.int8, np.uint8):
        x = np.array([[0, 1], [2, 3]], kind)
        np.testing.assert_array_equal(us.explain(x, np.array([[1, 2], [3, 4]], kind)).output, expected)


def test_a_tensor_is_taken():
    torch = pytest.importorskip("torch")
    expected = us.explain([[0, 1], [2, 3]], [[1, 2], [3, 4]]).output
    np.testing.assert_array_equal(us.explain(torch.arange(4.0).reshape(2, 2), [[1, 2], [3, 4]]).output, expected)


@pytest.mark.parametrize(
    ("arguments", "fields", "error", "words"),
    [
        (([[1, 2], [3]], [[1]]), {}, us.GeometryError, "x is .*; expected a grid whose rows are equally long"),
        (([1, 2], [[1]]), {}, us.GeometryError, r"x has 1 dimension, shape \(2,\), and the kernel 2"),
        ((np.ones((1, 2, 3, 4)), np.ones((1, 1, 1, 1))), {}, us.GeometryError, "x has shape .*1 to 3 dimensions"),
        (([], [1]), {}, us.GeometryError, r"x has shape \(0,\)"),
        (([1, np.nan], [1]), {}, us.GeometryError, "x has entries that are infinite or not a number"),
        ((["a"], [1]), {}, TypeError, "x is of type <U1; expected a grid of real numbers"),
        (([1j], [1]), {}, TypeError, "x is of type complex128"),
        (([1, 2], [1], "b"), {}, us.GeometryError, "bias is 'b'; expected one finite number"),
        (([1, 2], [1], [1, 2]), {}, us.GeometryError, r"bias is \[1, 2\]"),
        (([1, 2], [1]), {"op": "deconv"}, us.GeometryError, "op is 'deconv'; expected 'conv_transpose' or 'conv'"),
        (([1, 2], [1]), {"op": "conv", "output_padding": 1}, us.GeometryError, "a convolution has none"),
        (([1, 2], [1]), {"upstream": [1]}, us.GeometryError, r"upstream has shape \(1,\); expected the output's, \(2,\)"),
        (([1, 2], [1]), {"padding": 1}, us.GeometryError, r"the output has size \(0,\): no cell is left"),
        (([1, 2], [1]), {"padding": 2}, us.GeometryError, "the crop of axis 0"),
        (([1, 2], [1]), {"geometry": us.Geometry(1, groups=2)}, us.GeometryError, "groups is 2; expected 1"),
        (([1, 2], [1]), {"geometry": us.Geometry(2)}, us.GeometryError, "the kernel has size"),
        ((np.ones((99, 99)), np.ones((9, 9))), {}, us.GeometryError, "makes 793,881 products.*explain a part of x"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(arguments, fields, error, words):
    with pytest.raises(error, match=words):
        us.explain(*arguments, **fields)


@pytest.mark.parametrize("cell", [(2, 0), (-1, 0), (0,), (0.5, 0), "ab", None])
def test_cells_outside_are_refused(cell):
    trace = us.explain([[1, 2], [3, 4]], [[1]])
    for rule, name in ((trace.contributors, "output"), (trace.touched_by_input, "input"), (trace.window, "output")):
        with pytest.raises(us.GeometryError, match=f"{name} is .*; expected a cell of a grid of size"):
            rule(cell)


def test_views_and_steps_are_checked():
    trace = us.explain([1, 2], [1])
    with pytest.raises(us.GeometryError, match="view is 'spiral'; expected one of 'scatter', 'grid'"):
        trace.steps("spiral")
    with pytest.raises(us.GeometryError, match="step is 2; expected 0 to 1"):
        trace.text(step=2)


def test_the_name_explain_is_the_function():
    import importlib

    importlib.import_module("unstride.explainer.quiz")
    assert isinstance(us.explain([1], [1]), Trace)


def test_the_old_name_of_op_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match="the argument map is called op now: write op='conv'") as caught:
        trace = us.explain([1, 2, 3], [1, 1], map="conv")
    assert caught[0].filename == __file__
    assert trace.op == "conv"
    np.testing.assert_array_equal(trace.output, [3, 5])
