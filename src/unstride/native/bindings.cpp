// The Python face of the native core.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "arrays.hpp"
#include "maps.hpp"
#include "memory.hpp"
#include "pool.hpp"

namespace nb = nanobind;

namespace unstride {
namespace {

InstructionSet used_set = widest_instruction_set();

constexpr Size most_phases = 1024;  // along an axis; each takes memory and time of its own

int lanes_of(int bytes) { return bytes == 4 ? kernels<float>(used_set).lanes : kernels<double>(used_set).lanes; }

// Plans of the last few problems: making one takes longer than a small map. In a process that was forked while another
// thread held the lock it stays locked, and nothing is remembered.
template <class Made>
std::shared_ptr<const Made> remembered(const Problem& p, Made (*make)(const Problem&)) {
    static auto& lock = *new std::mutex;
    static auto& plans = *new std::unordered_map<std::string, std::shared_ptr<const Made>>;
    Size key[27];
    Size* at = key;
    for (const Axis& a : p.axes)
        for (Size field : {a.small, a.big, a.kernel, a.stride, a.dilation, a.begin}) *at++ = field;
    for (Size field : {Size(p.map), p.batch, p.groups, p.small_channels, p.big_channels, Size(p.dense_in), Size(p.dense_out), Size(p.finite),
                       Size(p.lanes * 16 + p.bytes)})
        *at++ = field;
    const std::string name(reinterpret_cast<const char*>(key), sizeof(key));
    std::unique_lock<std::mutex> held(lock, std::try_to_lock);
    if (held) {
        auto found = plans.find(name);
        if (found != plans.end()) return found->second;
    }
    auto plan = std::make_shared<const Made>(make(p));
    if (held) {
        if (plans.size() >= 256) plans.clear();
        plans.emplace(name, plan);
    }
    return plan;
}

Fields fields_of(const std::vector<Size>& stride, const std::vector<Size>& dilation, const std::vector<Size>& begin,
                 Size groups) {
    if (stride.empty() || stride.size() > 3 || dilation.size() != stride.size() || begin.size() != stride.size())
        throw std::invalid_argument("stride, dilation and begin must have one entry for each of 1 to 3 axes");
    Fields f{};
    f.rank = static_cast<int>(stride.size());
    std::copy(stride.begin(), stride.end(), f.stride);
    std::copy(dilation.begin(), dilation.end(), f.dilation);
    std::copy(begin.begin(), begin.end(), f.begin);
    f.groups = groups;
    return f;
}

// An array (images, space, channels) of a problem, whatever its layout: channels first is copied to channels last.
template <class T>
class ChannelsLast {
   public:
    ChannelsLast(const Buffer& array, int rank, bool first)
        : batch(array.size(0)), channels(array.size(first ? 1 : rank + 1)), cells(cells_of(array, rank, first)),
          copied(first && channels > 1 && cells > 1), memory(copied ? batch * channels * cells : 0), data(array.data<T>()) {
        if (first && !array.contiguous())
            throw std::invalid_argument(std::string(array.name()) + " is channels first and not contiguous");
        if (!first && channels > 1 && array.stride(rank + 1) != 1)
            throw std::invalid_argument(std::string(array.name()) + " has channels that are not adjacent");
        Size step = channels;
        for (int axis = 2; axis >= 0; --axis) {  // z, y, x are the last `rank` of three
            const int own = axis - (3 - rank);
            const Size size = own < 0 ? 1 : array.size(own + (first ? 2 : 1));
            // Along an axis of one cell a view may have any stride; positions before the first are counted with it.
            grid.strides[axis + 1] = first || size == 1 ? step : array.stride(own + 1);
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
    static Size cells_of(const Buffer& array, int rank, bool first) {
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

bool nothing_in(const Buffer& array) {
    for (int axis = 0; axis < array.dimensions(); ++axis)
        if (array.size(axis) == 0) return true;
    return false;
}

template <class T>
void forward(Problem p, const Fields& f, const Buffer& x, const Buffer& kernel, const Buffer* bias, const Buffer& out, bool first,
             bool relu) {
    const Kernels<T>& set = kernels<T>(used_set);
    ChannelsLast<T> in(x, f.rank, first), result(out, f.rank, first);
    p.dense_in = in.dense(), p.dense_out = result.dense();
    const Size smalls = p.small_channels * p.groups;
    const bool turned = first && smalls > 1 && p.taps() * p.big_channels > 1;
    Scratch<T> weights(turned ? smalls * p.big_channels * p.taps() : 0);
    Taps<const T> taps{kernel.data<T>(), p.big_channels * smalls, smalls};
    if (first) taps.tap = smalls, taps.big = p.taps() * smalls;
    nb::gil_scoped_release released;
    auto plan = remembered(p, make_plan);
    if (turned) transpose(set, kernel.data<T>(), weights.data(), 1, smalls, p.big_channels * p.taps());
    if (turned) taps.data = weights.data();
    in.read(set);
    if (plan->gaps && !finite(set, in.readable(), p)) {
        p.finite = false;
        plan = remembered(p, make_plan);
    }
    run(*plan, set, in.readable(), taps, bias ? bias->data<T>() : nullptr, result.writable(), relu);
    result.write(set);
}

void compute(bool transposed, nb::handle x, nb::handle kernel, nb::handle bias, nb::handle out, const std::vector<Size>& stride,
             const std::vector<Size>& dilation, const std::vector<Size>& begin, Size groups, bool first, bool relu) {
    const Fields f = fields_of(stride, dilation, begin, groups);
    const Buffer in("x", x.ptr(), false), weights("kernel", kernel.ptr(), false), result("out", out.ptr(), true);
    if (!weights.contiguous()) throw std::invalid_argument("kernel is not contiguous");
    Problem p = problem_of(transposed ? Map::conv_transpose : Map::conv, transposed ? result : in, transposed ? in : result,
                           weights, f, first);
    std::unique_ptr<Buffer> added;
    if (!bias.is_none()) {
        added = std::make_unique<Buffer>("bias", bias.ptr(), false);
        const Size channels = result.size(first ? 1 : f.rank + 1);
        if (added->dimensions() != 1 || added->size(0) != channels || added->bytes() != in.bytes() || !added->contiguous())
            throw std::invalid_argument("bias is not one adjacent number of x's type for each channel of out");
    }
    for (const Axis& axis : p.axes)
        if (transposed && std::min(axis.stride, axis.big) > most_phases)
            throw std::invalid_argument("stride is larger than the kernels can plan for");
    if (nothing_in(result)) return;
    if (nothing_in(in)) throw std::invalid_argument("x is empty where out is not");
    p.lanes = lanes_of(p.bytes);
    if (p.bytes == 4)
        forward<float>(p, f, in, weights, added.get(), result, first, relu);
    else
        forward<double>(p, f, in, weights, added.get(), result, first, relu);
}

template <class T>
void backward(Problem p, const Fields& f, const Buffer& big, const Buffer& small, const Buffer& gradient, bool first) {
    const Kernels<T>& set = kernels<T>(used_set);
    ChannelsLast<T> bigs(big, f.rank, first), smalls(small, f.rank, first);
    p.dense_in = bigs.dense(), p.dense_out = smalls.dense();
    const Size c_small = p.small_channels * p.groups, c_big = p.big_channels, taps = p.taps();
    // (taps, big, small) becomes (small, taps, big), and that (small, big, taps).
    Scratch<T> last(first ? taps * c_big * c_small : 0), middle(first && taps > 1 && c_big > 1 ? taps * c_big * c_small : 0);
    T* to = gradient.data<T>();
    nb::gil_scoped_release released;
    const auto plan = remembered(p, make_gradient_plan);
    bigs.read(set), smalls.read(set);
    run(*plan, set, bigs.readable(), smalls.readable(), Taps<T>{first ? last.data() : to, c_big * c_small, c_small});
    if (!first) return;
    T* turned = middle.data() ? middle.data() : to;
    transpose(set, last.data(), turned, 1, taps * c_big, c_small);
    if (middle.data()) transpose(set, turned, to, c_small, taps, c_big);
}

void gradient(nb::handle big, nb::handle small, nb::handle out, const std::vector<Size>& stride,
              const std::vector<Size>& dilation, const std::vector<Size>& begin, Size groups, bool first) {
    const Fields f = fields_of(stride, dilation, begin, groups);
    const Buffer bigs("big", big.ptr(), false), smalls("small", small.ptr(), false), result("out", out.ptr(), true);
    if (!result.contiguous()) throw std::invalid_argument("out is not contiguous");
    Problem p = problem_of(Map::kernel_gradient, bigs, smalls, result, f, first);
    if (nothing_in(result)) return;
    if (nothing_in(bigs) || nothing_in(smalls)) throw std::invalid_argument("big or small is empty where out is not");
    p.lanes = lanes_of(p.bytes);
    if (p.bytes == 4)
        backward<float>(p, f, bigs, smalls, result, first);
    else
        backward<double>(p, f, bigs, smalls, result, first);
}

// An array of numbers of any value, whose memory is used again after it.
nb::object empty(const std::vector<std::size_t>& shape, int bytes) {
    if (bytes != 4 && bytes != 8) throw std::invalid_argument("bytes must be 4 or 8");
    std::size_t size = static_cast<std::size_t>(bytes);
    for (std::size_t length : shape)
        if (__builtin_mul_overflow(size, length, &size)) throw std::bad_alloc();
    struct Block {
        void* data;
        std::size_t size;
    };
    auto* block = new Block{take(std::max<std::size_t>(size, 1)), std::max<std::size_t>(size, 1)};
    nb::capsule owner(block, [](void* p) noexcept {
        auto* held = static_cast<Block*>(p);
        give_back(held->data, held->size);
        delete held;
    });
    if (bytes == 4) return nb::cast(nb::ndarray<nb::numpy, float>(block->data, shape.size(), shape.data(), owner));
    return nb::cast(nb::ndarray<nb::numpy, double>(block->data, shape.size(), shape.data(), owner));
}

nb::list describe_passes(const std::vector<Pass>& passes) {
    nb::list all;
    for (const Pass& pass : passes) {
        nb::dict one;
        one["offset"] = pass.offset, one["step"] = pass.step, one["in_step"] = pass.in_step, one["group"] = pass.group;
        one["shifts"] = nb::cast(pass.shifts), one["index"] = nb::cast(pass.index);
        nb::list boxes;
        for (const Box& box : pass.boxes)
            boxes.append(nb::make_tuple(box.first, box.count, box.tap, box.taps, box.cell, box.cells));
        one["boxes"] = boxes;
        all.append(one);
    }
    return all;
}

nb::list describe_pieces(const std::vector<Piece>& pieces) {
    nb::list all;
    for (const Piece& q : pieces) all.append(nb::make_tuple(q.image, q.images, q.cell, q.cells, q.pass, q.block, q.blocks));
    return all;
}

// A plan as Python data, for arrays that are channels last and without gaps.
nb::dict describe(const std::string& map, const std::vector<Size>& small, const std::vector<Size>& big,
                  const std::vector<Size>& kernel, const std::vector<Size>& stride, const std::vector<Size>& dilation,
                  const std::vector<Size>& begin, Size batch, Size groups, Size small_channels, Size big_channels, int bytes) {
    const Fields f = fields_of(stride, dilation, begin, groups);
    if (static_cast<int>(small.size()) != f.rank || static_cast<int>(big.size()) != f.rank ||
        static_cast<int>(kernel.size()) != f.rank || (bytes != 4 && bytes != 8))
        throw std::invalid_argument("small, big and kernel must have one entry for each axis, and bytes be 4 or 8");
    Problem p;
    p.map = map == "conv" ? Map::conv : map == "conv_transpose" ? Map::conv_transpose : Map::kernel_gradient;
    p.batch = batch, p.groups = groups, p.small_channels = small_channels, p.big_channels = big_channels, p.bytes = bytes;
    p.lanes = lanes_of(bytes);
    constexpr Size most = Size(1) << 24;
    for (Size field : {batch, groups, small_channels, big_channels})
        if (field < 1 || field > most) throw std::invalid_argument("batch, groups and channels must be from 1 to 2^24");
    if (double(groups) * double(small_channels) * double(big_channels) > double(Size(1) << 40))
        throw std::invalid_argument("groups and channels are out of range");
    for (int i = 0; i < f.rank; ++i)
        set_axis(p.axes[3 - f.rank + i], small[i], big[i], kernel[i], f.stride[i], f.dilation[i], f.begin[i]);
    for (const Axis& axis : p.axes)
        if (axis.small < 1 || axis.big < 1 || std::min(axis.stride, axis.big) > most_phases)
            throw std::invalid_argument("sizes must be at least 1, and strides not be larger than the kernels can plan for");
    nb::dict told;
    told["lanes"] = p.lanes;
    if (p.map == Map::kernel_gradient) {
        const GradientPlan plan = make_gradient_plan(p);
        nb::list axes, parts;
        for (const Pass& pass : plan.axes) axes.append(describe_passes({pass}));
        for (const auto& part : plan.parts) parts.append(describe_pieces(part));
        told["method"] = plan.depthwise ? "pairs" : "outer";
        told["big_in_lanes"] = plan.big_in_lanes, told["runs"] = plan.runs;
        told["axes"] = axes, told["parts"] = parts, told["multiply_adds"] = plan.multiply_adds;
        return told;
    }
    const Plan plan = make_plan(p);
    nb::list axes;
    for (const auto& axis : plan.axes) axes.append(describe_passes(axis));
    told["method"] = name(plan.method), told["blockwise"] = plan.blockwise;
    told["axes"] = axes, told["columns"] = nb::cast(plan.columns), told["pieces"] = describe_pieces(plan.pieces);
    told["split_axis"] = plan.split_axis;
    told["multiply_adds"] = plan.multiply_adds, told["vector_operations"] = plan.vector_operations;
    return told;
}

double peak(double seconds, int threads) {
    nb::gil_scoped_release released;
    std::vector<double> found(std::max(threads, 1), 0.0);
    const InstructionSet set = used_set;
    parallel(threads, threads, [&](Size task, int) { found[task] = fma_peak(set, seconds); });
    double sum = 0;
    for (double one : found) sum += one;
    return sum;
}

std::vector<InstructionSet> available_sets() {
    const InstructionSet widest = widest_instruction_set();
    std::vector<InstructionSet> sets{InstructionSet::baseline};
    for (InstructionSet set : {InstructionSet::avx2, InstructionSet::avx512, InstructionSet::neon})
        if (set == widest || (set == InstructionSet::avx2 && widest == InstructionSet::avx512)) sets.push_back(set);
    return sets;
}

void use_instruction_set(const std::string& wanted) {
    std::string known;
    for (InstructionSet set : available_sets()) {
        if (wanted == name(set)) {
            used_set = set;
            return;
        }
        known += std::string(known.empty() ? "'" : ", '") + name(set) + "'";
    }
    throw std::invalid_argument("instruction set is '" + wanted + "'; this machine has " + known);
}

}  // namespace
}  // namespace unstride

NB_MODULE(_native, m) {
    using namespace unstride;
    m.doc() = "The native core of unstride: arguments are checked so far that nothing crashes; unstride.ops explains.";
    m.def("compute", compute, nb::arg("transposed"), nb::arg("x"), nb::arg("kernel"), nb::arg("bias").none(), nb::arg("out"),
          nb::arg("stride"), nb::arg("dilation"), nb::arg("begin"), nb::arg("groups"), nb::arg("first"), nb::arg("relu"),
          "Writes conv_transpose or conv of x to out.");
    m.def("gradient", gradient, nb::arg("big"), nb::arg("small"), nb::arg("out"), nb::arg("stride"), nb::arg("dilation"),
          nb::arg("begin"), nb::arg("groups"), nb::arg("first"), "Writes kernel_gradient of big and small to out.");
    m.def("describe", describe, nb::arg("map"), nb::arg("small"), nb::arg("big"), nb::arg("kernel"), nb::arg("stride"),
          nb::arg("dilation"), nb::arg("begin"), nb::arg("batch"), nb::arg("groups"), nb::arg("small_channels"),
          nb::arg("big_channels"), nb::arg("bytes"), "The plan of a map, as Python data; channels are those of a group.");
    m.def("empty", empty, nb::arg("shape"), nb::arg("bytes"),
          "A new array of float32 (4 bytes) or float64 (8): large ones take memory that an earlier one left.");
    m.attr("most_phases") = most_phases;
    m.attr("most_threads") = most_threads;
    m.def("num_threads", num_threads, "How many threads a call uses.");
    m.def("set_num_threads", set_num_threads, nb::arg("count"));
    m.def("thread_setting_problem", thread_setting_problem, nb::rv_policy::copy,
          "What is wrong with UNSTRIDE_NUM_THREADS, or None.");
    m.def("instruction_set", [] { return name(used_set); }, "The instruction set whose kernels run.");
    m.def("use_instruction_set", use_instruction_set, nb::arg("name"), "Runs the kernels of another one from now on.");
    m.def(
        "instruction_sets",
        [] {
            std::vector<std::string> names;
            for (InstructionSet set : available_sets()) names.push_back(name(set));
            return names;
        },
        "Those that this machine runs, the slowest first.");
    m.def("fma_peak", peak, nb::arg("seconds"), nb::arg("threads"),
          "Billions of floating-point operations a second in registers alone, of all threads together.");
}
