#include "api/calls.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

// Plans of the last few problems: making one takes longer than a small map. In a process that was forked while another
// thread held the lock it stays locked, and nothing is remembered.
template <class Plan_>
std::shared_ptr<const Plan_> remembered(const Problem& p, Plan_ (*make)(const Problem&)) {
    static auto& lock = *new std::mutex;
    static auto& plans = *new std::unordered_map<std::string, std::shared_ptr<const Plan_>>;
    Size key[27];
    Size* at = key;
    for (const Axis& a : p.axes)
        for (Size field : {a.small, a.big, a.kernel, a.stride, a.dilation, a.begin}) *at++ = field;
    for (Size field : {Size(p.map), p.batch, p.groups, p.small_channels, p.big_channels, Size(p.dense_in),
                       Size(p.dense_out), Size(p.finite), Size(p.lanes * 16 + p.bytes)})
        *at++ = field;
    const std::string name(reinterpret_cast<const char*>(key), sizeof(key));
    std::unique_lock<std::mutex> held(lock, std::try_to_lock);
    if (held) {
        auto cached = plans.find(name);
        if (cached != plans.end()) return cached->second;
    }
    auto plan = std::make_shared<const Plan_>(make(p));
    if (held) {
        if (plans.size() >= 256) plans.clear();
        plans.emplace(name, plan);
    }
    return plan;
}

// An array (images, space, channels) of a problem, whatever its layout: channels first is copied to channels last.
template <class T>
class ChannelsLast {
   public:
    ChannelsLast(const Array& array, int rank, bool first)
        : batch(array.size(0)), channels(array.size(first ? 1 : rank + 1)), cells(cells_of(array, rank, first)),
          copied(first && channels > 1 && cells > 1), memory(copied ? batch * channels * cells : 0), data(array.as<T>()) {
        if (first && !array.contiguous())
            throw std::invalid_argument(std::string(array.name) + " is channels first and not contiguous");
        if (!first && channels > 1 && array.stride(rank + 1) != 1)
            throw std::invalid_argument(std::string(array.name) + " has channels that are not adjacent");
        Size step = channels;
        for (int axis = 2; axis >= 0; --axis) {  // z, y, x are the last `rank` of three
            const int array_axis = axis - (3 - rank);
            const Size size = array_axis < 0 ? 1 : array.size(array_axis + (first ? 2 : 1));
            // Along an axis of one cell a view may have any stride; positions before the first are counted with it.
            grid.strides[axis + 1] = first || size == 1 ? step : array.stride(array_axis + 1);
            step *= size;
        }
        grid.strides[0] = first || batch == 1 ? step : array.stride(0);
        grid.data = copied ? memory.data() : data;
    }

    void read(const Kernels<T>& kernels) {
        if (copied) transpose(kernels, data, memory.data(), batch, channels, cells);
    }
    void write(const Kernels<T>& kernels) {
        if (copied) transpose(kernels, memory.data(), data, batch, cells, channels);
    }
    Grid<T> writable() const { return grid; }
    Grid<const T> readable() const {
        Grid<const T> g{grid.data, {}};
        std::copy(grid.strides, grid.strides + 4, g.strides);
        return g;
    }
    bool dense() const { return grid.strides[3] == channels; }

   private:
    static Size cells_of(const Array& array, int rank, bool first) {
        Size cells = 1;
        for (int i = 0; i < rank; ++i) cells *= array.size(i + (first ? 2 : 1));
        return cells;
    }
    const Size batch, channels, cells;
    const bool copied;
    Scratch<T> memory;
    T* data;
    Grid<T> grid{};
};

// `in` has been read.
template <class T>
void forward(const Kernels<T>& set, Problem p, const ChannelsLast<T>& in, const Array& kernel, const Array* bias,
             ChannelsLast<T>& result, Layout layout, bool relu) {
    p.dense_in = in.dense(), p.dense_out = result.dense();
    const Size smalls = p.small_channels * p.groups;
    const bool transposes = layout.kernel_first && smalls > 1 && p.taps() * p.big_channels > 1;
    Scratch<T> weights(transposes ? smalls * p.big_channels * p.taps() : 0);
    WeightsView<const T> taps{kernel.as<T>(), p.big_channels * smalls, smalls};
    if (layout.kernel_first) taps.tap = smalls, taps.big = p.taps() * smalls;
    auto plan = remembered(p, make_plan);
    if (transposes) transpose(set, kernel.as<T>(), weights.data(), 1, smalls, p.big_channels * p.taps());
    if (transposes) taps.data = weights.data();
    const auto computed = [&] {
        run(MapCall<T>{*plan, set, in.readable(), taps, bias ? bias->as<T>() : nullptr, result.writable(), relu});
    };
    if (plan->gaps && plan->method == Method::spatial) {
        // Zeros stand in for cells beyond the input: times infinity or NaN among the weights they would be NaN.
        if (!set.finite(kernel.as<T>(), p.taps() * p.big_channels * smalls)) p.finite = false, plan = remembered(p, make_plan);
        computed();
    } else if (plan->gaps) {
        // Zeros stand in for taps that a cell does not have: times infinity or NaN they are NaN. Whichever grid is smaller
        // shows whether that may have happened, and then a plan without gaps computes all.
        const Size ins[3] = {p.in_size(0), p.in_size(1), p.in_size(2)}, outs[3] = {p.out_size(0), p.out_size(1), p.out_size(2)};
        const Size in_row = p.groups * p.in_channels(), out_row = p.groups * p.out_channels();
        const bool before = double(ins[0] * ins[1] * ins[2] * in_row) <= double(outs[0] * outs[1] * outs[2] * out_row);
        if (!before) computed();
        if (before ? finite(set, in.readable(), p.batch, ins, in_row)
                   : finite(set, result.readable(), p.batch, outs, out_row)) {
            if (before) computed();
        } else {
            p.finite = false;
            plan = remembered(p, make_plan);
            computed();
        }
    } else {
        computed();
    }
    result.write(set);
}

// A kernel's gradient, (taps, big, small), as (small, big, taps): by some small channels at a time, each of which is written
// in one run.
template <class T>
void transpose_kernel(const Kernels<T>& kernels, const T* from, T* to, Size taps, Size bigs, Size smalls) {
    constexpr Size some = 64 / sizeof(T);
    const Size tasks = ceil_div(smalls, some);
    parallel(tasks, taps * bigs * smalls > few_numbers ? num_threads() : 1, [&](Size task, int) {
        const Size small = task * some, count = std::min(some, smalls - small);
        for (Size big = 0; big < bigs; ++big)
            kernels.transpose(from + big * smalls + small, bigs * smalls, to + (small * bigs + big) * taps, bigs * taps, taps,
                              count);
    });
}

// `bigs` and `smalls` have been read.
template <class T>
void backward(const Kernels<T>& set, Problem p, const ChannelsLast<T>& bigs, const ChannelsLast<T>& smalls,
              const Array& gradient, Layout layout) {
    p.dense_in = bigs.dense(), p.dense_out = smalls.dense();
    const Size c_small = p.small_channels * p.groups, c_big = p.big_channels, taps = p.taps();
    Scratch<T> last(layout.kernel_first ? taps * c_big * c_small : 0);
    T* const to = layout.kernel_first ? last.data() : gradient.as<T>();
    const auto plan = remembered(p, make_gradient_plan);
    run(*plan, set, bigs.readable(), smalls.readable(), WeightsView<T>{to, c_big * c_small, c_small});
    if (layout.kernel_first) transpose_kernel(set, to, gradient.as<T>(), taps, c_big, c_small);
}

template <class T>
void compute_as(const Kernels<T>& set, const Problem& p, int rank, const Array& x, const Array& kernel, const Array* bias,
                const Array& out, Layout layout, bool relu) {
    ChannelsLast<T> in(x, rank, layout.first), result(out, rank, layout.first);
    in.read(set);
    forward(set, p, in, kernel, bias, result, layout, relu);
}

template <class T>
void gradient_as(const Kernels<T>& set, const Problem& p, int rank, const Array& big, const Array& small, const Array& out,
                 Layout layout) {
    ChannelsLast<T> bigs(big, rank, layout.first), smalls(small, rank, layout.first);
    bigs.read(set), smalls.read(set);
    backward(set, p, bigs, smalls, out, layout);
}

template <class T>
void gradients_as(const Kernels<T>& set, const Problem& by_x, const Problem& by_kernel, int rank, const Array& x,
                  const Array& kernel, const Array& grad_output, const Array& x_gradient, const Array& kernel_gradient,
                  Layout layout) {
    ChannelsLast<T> in(x, rank, layout.first), grad_outputs(grad_output, rank, layout.first),
        result(x_gradient, rank, layout.first);
    in.read(set), grad_outputs.read(set);
    forward<T>(set, by_x, grad_outputs, kernel, nullptr, result, layout, false);
    by_x.transposed() ? backward(set, by_kernel, in, grad_outputs, kernel_gradient, layout)
                      : backward(set, by_kernel, grad_outputs, in, kernel_gradient, layout);
}

void check_phases(const Problem& p) {
    for (const Axis& axis : p.axes)
        if (p.transposed() && std::min(axis.stride, axis.big) > max_phases)
            throw std::invalid_argument("stride is larger than the kernels can plan for");
}

}  // namespace

void compute(bool transposed, const Array& x, const Array& kernel, const Array* bias, const Array& out, const Fields& fields,
             Layout layout, bool relu, InstructionSet set) {
    if (!kernel.contiguous()) throw std::invalid_argument("kernel is not contiguous");
    Problem p = problem_of(transposed ? Map::conv_transpose : Map::conv, transposed ? out : x, transposed ? x : out, kernel,
                           fields, layout);
    if (bias) {
        const Size channels = out.size(layout.first ? 1 : fields.rank + 1);
        if (bias->dimensions != 1 || bias->size(0) != channels || bias->bytes != x.bytes || !bias->contiguous())
            throw std::invalid_argument("bias is not one adjacent number of x's type for each channel of out");
    }
    check_phases(p);
    if (out.empty()) return;
    if (x.empty()) throw std::invalid_argument("x is empty where out is not");
    p.lanes = lanes_of(set, p.bytes);
    if (p.bytes == 4)
        compute_as(kernels<float>(set), p, fields.rank, x, kernel, bias, out, layout, relu);
    else
        compute_as(kernels<double>(set), p, fields.rank, x, kernel, bias, out, layout, relu);
}

void gradient(const Array& big, const Array& small, const Array& out, const Fields& fields, Layout layout, InstructionSet set) {
    if (!out.contiguous()) throw std::invalid_argument("out is not contiguous");
    Problem p = problem_of(Map::kernel_gradient, big, small, out, fields, layout);
    if (out.empty()) return;
    if (big.empty() || small.empty()) throw std::invalid_argument("big or small is empty where out is not");
    p.lanes = lanes_of(set, p.bytes);
    if (p.bytes == 4)
        gradient_as(kernels<float>(set), p, fields.rank, big, small, out, layout);
    else
        gradient_as(kernels<double>(set), p, fields.rank, big, small, out, layout);
}

void gradients(bool transposed, const Array& x, const Array& kernel, const Array& grad_output, const Array& x_gradient,
               const Array& kernel_gradient, const Fields& fields, Layout layout, InstructionSet set) {
    if (!kernel.contiguous() || !kernel_gradient.contiguous())
        throw std::invalid_argument("the kernel, or its gradient, is not contiguous");
    Problem by_x = problem_of(transposed ? Map::conv : Map::conv_transpose, transposed ? grad_output : x_gradient,
                              transposed ? x_gradient : grad_output, kernel, fields, layout);
    Problem by_kernel = problem_of(Map::kernel_gradient, transposed ? grad_output : x, transposed ? x : grad_output,
                                   kernel_gradient, fields, layout);
    check_phases(by_x);
    if (x.empty() || grad_output.empty() || kernel.empty())
        throw std::invalid_argument("x, the kernel or grad_output is empty");
    by_x.lanes = by_kernel.lanes = lanes_of(set, by_x.bytes);
    if (by_x.bytes == 4)
        gradients_as(kernels<float>(set), by_x, by_kernel, fields.rank, x, kernel, grad_output, x_gradient, kernel_gradient,
                     layout);
    else
        gradients_as(kernels<double>(set), by_x, by_kernel, fields.rank, x, kernel, grad_output, x_gradient, kernel_gradient,
                     layout);
}

}  // namespace unstride
