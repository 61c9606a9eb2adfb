"""The native core within a process: guard pages, memory, forks, the environment; most of it in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import unstride as us

FORKS = """
import os, threading, numpy as np, unstride as us
us.set_num_threads(4)
rng = np.random.default_rng(0)
x, kernel = rng.standard_normal((4, 40, 40, 32), np.float32), rng.standard_normal((3, 3, 32, 32), np.float32)
expected = us.conv_transpose(x, kernel, stride=2)
stop = threading.Event()
def busy():
    while not stop.is_set():
        us.conv_transpose(x, kernel, stride=2)
thread = threading.Thread(target=busy)
thread.start()
for _ in range(8):
    child = os.fork()
    if child == 0:
        right = all(np.array_equal(us.conv_transpose(x, kernel, stride=2), expected) for _ in range(3))
        os._exit(0 if right else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(us.conv_transpose(x, kernel, stride=2), expected)
stop.set()
thread.join()
print("well")
"""


ENDS = """
import os, sys, threading, time
if sys.argv[1] == "openmp":  # PyTorch's threads; its own calls abort where daemon threads are in them
    import torch, unstride.torch
import numpy as np, unstride as us
from unstride import _native
us.set_num_threads(3)
rng = np.random.default_rng(0)
x, kernel = rng.standard_normal((2, 40, 40, 16), np.float32), rng.standard_normal((4, 4, 16, 16), np.float32)
y = us.conv_transpose(x, kernel, stride=2, padding=1)
calls = [
    lambda: us.conv_transpose(x, kernel, stride=2, padding=1),
    lambda: us.conv(y, kernel, stride=2, padding=1),
    lambda: us.kernel_gradient(y, x, kernel_size=(4, 4), stride=2, padding=1),
    lambda: us.conv_transpose(x, kernel, stride=2, padding=1, out=np.empty_like(y)),
]
if sys.argv[1] == "openmp":
    us.conv_transpose(torch.from_numpy(x).requires_grad_(), torch.from_numpy(kernel), stride=2, padding=1)
    arrays = x, kernel, y.copy()
    shapes = [part for a in arrays for part in (a.shape, [step // 4 for step in a.strides])]
    fields = (2, 2), (1, 1), (1, 1), 1
    bound = _native.bind("conv_transpose", *shapes, False, *fields, False, 1, 4)
    first, second, third = (a.ctypes.data for a in arrays)
    calls = [lambda: bound(first, second, 0, third)]

def work(call):
    while True:
        call()

class Slow:  # while the interpreter ends, the threads come back from their calls
    def __del__(self, sleep=time.sleep):
        sleep(0.3)

slow = Slow()
for call in calls:
    call()
    threading.Thread(target=work, args=(call,), daemon=True).start()
time.sleep(0.2)
"""


GUARDED = """
import ctypes, mmap, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, unstride as us
from cases import samples
from unstride import _native

libc = ctypes.CDLL(None)

def fenced(array, at_end):
    # A copy that ends, or begins, at a page that cannot be touched.
    page = mmap.PAGESIZE
    room = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (start, start + page + room):
        assert libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
    offset = page + (room - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy

counts = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 33, 40, 66]
for i, (geometry, size, rng) in enumerate(samples(int(sys.argv[2]), 5, ranks=(1, 2, 3))):
    big = geometry.output_size(size)
    if 0 in big:
        continue
    cs, cb = (int(rng.choice(counts)) for _ in range(2))
    g, dtype = geometry.groups, (np.float32, np.float64)[i % 2]
    v, u = rng.standard_normal((2, *size, g * cs)), rng.standard_normal((2, *big, g * cb))
    k, b = rng.standard_normal((*geometry.kernel_size, cb, g * cs)), rng.standard_normal(g * cb)
    v, u, k, b = (a.astype(dtype) for a in (v, u, k, b))
    for isa in _native.instruction_sets():
        _native.use_instruction_set(isa)
        for at_end in (False, True):
            fv, fu, fk, fb = (fenced(a, at_end) for a in (v, u, k, b))
            for got, expected in (
                (us.conv_transpose(fv, fk, fb, geometry, out=fenced(u, at_end)), us.conv_transpose(v, k, b, geometry)),
                (us.conv(fu, fk, None, geometry, out=fenced(v, at_end)), us.conv(u, k, None, geometry)),
                (us.kernel_gradient(fu, fv, geometry, out=fenced(k, at_end)), us.kernel_gradient(u, v, geometry)),
            ):
                assert np.array_equal(got, expected)
print("well")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mprotect")
def test_nothing_beyond_the_arrays_is_touched():
    """Masked accesses too, which AddressSanitizer does not see."""
    done = run(GUARDED, str(Path(__file__).parents[1] / "helpers"), "150")
    assert (done.stdout, done.returncode) == ("well\n", 0), done.stderr


MEMORY = """
import resource, numpy as np, unstride as us
us.set_num_threads(2)
shapes = [((1, 96, 96, 128), (2, 2, 64, 128), 2), ((4, 64, 64, 56), (9, 9, 1, 56), 3), ((16, 50, 50, 16), (3, 3, 8, 16), 1)]
for shape, taps, stride in shapes:
    x, kernel = np.ones(shape, np.float32), np.ones(taps, np.float32)
    geometry = us.Geometry(taps[:2], stride)
    out = np.zeros((shape[0], *geometry.output_size(shape[1:3]), taps[2]), np.float32)
    us.conv_transpose(x[:, :4, :4], kernel, stride=stride)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    us.conv_transpose(x, kernel, None, geometry, out=out)
    us.conv(out, kernel, None, geometry, out=x)
    us.kernel_gradient(out, x, geometry, out=kernel)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss has other units")
def test_extra_memory_is_small():
    """Beside arrays of 20 to 60 MB no more than their weights and 1 MiB a thread."""
    done = run(MEMORY)
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 3, done.stderr
    assert max(grown) <= 2 * 1024 + 512, grown  # KiB


def run(program, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", program, *arguments], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_calls_after_a_fork_are_right():
    done = run(FORKS)
    assert (done.stdout, done.returncode) == ("well\n", 0), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["pool", "openmp"])
def test_a_program_ends_while_daemon_threads_are_at_work(threads):
    if threads == "openmp":
        pytest.importorskip("torch")
    done = run(ENDS, threads)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_environment_sets_threads_and_instruction_set():
    tell = "import unstride as us; from unstride import _native; print(us.get_num_threads(), _native.instruction_set())"
    assert run(tell, UNSTRIDE_NUM_THREADS="3", UNSTRIDE_ISA="baseline").stdout == "3 baseline\n"
    wrong = run(tell, UNSTRIDE_NUM_THREADS="many", UNSTRIDE_ISA="mmx")
    assert wrong.returncode == 0
    assert "UNSTRIDE_NUM_THREADS" in wrong.stderr
    assert "UNSTRIDE_ISA is ignored: instruction set is 'mmx'; this machine has 'baseline'" in wrong.stderr


def test_numbers_of_threads_are_checked():
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(us.ArgumentError, match="the number of threads is"):
            us.set_num_threads(wrong)
    with pytest.raises(ValueError, match="from 1 to 1024"):
        us.set_num_threads(1025)
