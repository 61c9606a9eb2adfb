"""The tests' fast definitions, in tests/helpers, against the reference's loops."""

import exact
import numpy as np
from cases import arrays, situations
from hypothesis import given, settings
from hypothesis import strategies as st

from unstride import reference


@settings(max_examples=60)
@given(situations(ranks=(1, 2, 3)), st.integers(0, 2))
def test_the_same_numbers(situation, more):
    geometry, size, rng = situation
    v, kernel, bias, u = arrays(geometry, size, rng, integers=True)
    u = np.pad(u, [(0, 0), *[(0, more)] * geometry.rank, (0, 0)])  # cells that no tap may read
    u[:] = rng.integers(-9, 10, u.shape)

    def each(rule, *batches, **fields):
        return np.stack([rule(*images, kernel, geometry, **fields) for images in zip(*batches, strict=True)])

    np.testing.assert_array_equal(exact.scatter(v, kernel, geometry, bias), each(reference.scatter, v, bias=bias))
    if 0 in geometry.output_size(size):
        return
    np.testing.assert_array_equal(exact.conv(u, kernel, geometry, 3.0), each(reference.conv, u) + 3)
    v = rng.integers(-9, 10, (len(u), *geometry.conv_size(u.shape[1:-1]), kernel.shape[-1])).astype(float)
    by_image = [reference.kernel_gradient(a, b, geometry) for a, b in zip(u, v, strict=True)]
    np.testing.assert_array_equal(exact.kernel_gradient(u, v, geometry), sum(by_image))
