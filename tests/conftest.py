"""Settings for all tests."""

import os

import pytest

# Keras reads its backend when it is imported. Tests of the other backends start processes of their own.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By itself TensorFlow leaves oneDNN out on some processors, and then refuses to dilate transposed convolutions.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# OpenMP's threads (PyTorch's) wait asleep: with more test processes than processors they otherwise wait at one another's cost.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Each program that XLA compiles runs once or twice here: to optimize it takes longer than it ever saves.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from hypothesis import HealthCheck, settings

from unstride._core import why_missing

collect_ignore_glob = ["native/*"] if why_missing else []


def pytest_report_header():
    return f"tests/native and tests marked native are left out: no native core, {why_missing}" if why_missing else None


def pytest_collection_modifyitems(items):
    """Tests marked native are skipped where NumPy computes."""
    for item in items:
        if why_missing and item.get_closest_marker("native"):
            item.add_marker(pytest.mark.skip(reason=f"no native core: {why_missing}"))


settings.register_profile(
    "unstride",
    deadline=None,  # the machines are noisy, and no test asserts a time
    derandomize=True,  # the same examples in every run: a red run can be repeated
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("unstride")


@pytest.fixture(scope="session", autouse=True)
def _compile_once(tmp_path_factory):
    """Half of the tests' time would be XLA compiling the same programs again, in subprocesses too."""
    import jax

    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """A process for each core, but four at most: each has three frameworks in memory."""
    return min(4, os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Tests that a fixture skips have that fixture's place, so that pytest's summary has one line for all of them."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and report.longrepr[2].startswith("Skipped: no Chromium"):
        report.longrepr = (str(item.config.rootpath / "tests/helpers/browser.py"), 1, report.longrepr[2])
    return report
