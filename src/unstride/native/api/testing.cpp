// Kernels by themselves, for tests.
#include <stdexcept>
#include <vector>

#include "api/buffers.hpp"
#include "run/kernel_table.hpp"

namespace unstride {
namespace {

// out (positions, columns) = relu(x (positions, depth) times weights (depth, columns) + bias), by the igemm kernel or its
// scalar twin. The columns are whole vectors, which are packed in blocks of up to three, and are written from `from` to
// `to`.
void igemm(nb::handle x, nb::handle weights, nb::handle bias, nb::handle out, Size from, Size to, bool scalar) {
    const Buffer in("x", x, false), packed("weights", weights, false), added("bias", bias, false), result("out", out, true);
    const Kernels<float>& table = kernels<float>(used_instruction_set());
    const Array &a = *in, &w = *packed, &y = *result;
    for (const Array* array : {&a, &w, &y, &*added})
        if (array->bytes != 4 || !array->contiguous() || array->dimensions != (array == &*added ? 1 : 2))
            throw std::invalid_argument("the arrays must be contiguous, of float32, and of two axes; the bias of one");
    const Size depth = a.size(1), columns = w.size(1);
    if (w.size(0) != depth || y.size(0) != a.size(0) || y.size(1) != columns || (*added).size(0) != columns ||
        columns % table.lanes != 0 || from < 0 || to > columns)
        throw std::invalid_argument("the arrays do not fit");
    std::vector<float> rows;
    std::vector<Block<float>> blocks;
    rows.reserve(static_cast<std::size_t>(depth * columns));
    for (Size column = 0, vectors = 1; column < columns; vectors = vectors % 3 + 1) {
        const Size width = std::min(vectors * table.lanes, columns - column);
        blocks.push_back({rows.data() + rows.size(), (*added).as<float>() + column, column, width});
        for (Size row = 0; row < depth; ++row)
            rows.insert(rows.end(), w.as<float>() + row * columns + column, w.as<float>() + row * columns + column + width);
        column += width;
    }
    const InputRun runs[] = {{0, 0, depth / 3, 0}, {depth / 3, depth / 3, depth - depth / 3, depth / 3}};
    IgemmJob<float> job{};
    job.in = a.as<float>(), job.out = y.as<float>();
    job.loops = {{1, 1, 1, a.size(0)}, {0, 0, 0, depth}, {0, 0, 0, columns}};
    job.runs = runs, job.run_count = 2;
    job.blocks = blocks.data(), job.block_count = static_cast<Size>(blocks.size());
    job.from = from, job.to = to, job.relu = true;
    (scalar ? table.igemm_scalar : table.igemm)(job);
}

}  // namespace

void bind_testing(nb::module_& m) {
    m.def("igemm", igemm, nb::arg("x"), nb::arg("weights"), nb::arg("bias"), nb::arg("out"), nb::arg("from_"), nb::arg("to"),
          nb::arg("scalar"),
          "The igemm kernel by itself, or its scalar twin: relu(x @ weights + bias) of whole vectors of columns.");
}

}  // namespace unstride
