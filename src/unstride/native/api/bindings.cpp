// The Python face of the native core.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "api/buffers.hpp"
#include "api/calls.hpp"
#include "plan/gradient_plan.hpp"
#include "run/kernel_table.hpp"
#include "runtime/pool.hpp"
#include "api/bound_call.hpp"
#include "runtime/openmp_pool.hpp"
#include "runtime/unlocked.hpp"
#include "api/xla.hpp"

namespace unstride {
namespace {

void compute_arrays(bool transposed, nb::handle x, nb::handle kernel, nb::handle bias, nb::handle out,
                    const std::vector<Size>& stride, const std::vector<Size>& dilation, const std::vector<Size>& begin,
                    Size groups, bool first, bool kernel_first, bool relu) {
    const Fields fields = fields_of(stride, dilation, begin, groups);
    const Buffer in("x", x, false), weights("kernel", kernel, false), result("out", out, true);
    std::optional<Buffer> added;
    if (!bias.is_none()) added.emplace("bias", bias, false);
    const Unlocked unlocked;
    compute(transposed, *in, *weights, added ? &**added : nullptr, *result, fields, {first, kernel_first}, relu);
}

void gradient_arrays(nb::handle big, nb::handle small, nb::handle out, const std::vector<Size>& stride,
                     const std::vector<Size>& dilation, const std::vector<Size>& begin, Size groups, bool first,
                     bool kernel_first) {
    const Fields fields = fields_of(stride, dilation, begin, groups);
    const Buffer bigs("big", big, false), smalls("small", small, false), result("out", out, true);
    const Unlocked unlocked;
    gradient(*bigs, *smalls, *result, fields, {first, kernel_first});
}

using Sizes = std::vector<Size>;

KernelLayout kernel_layout_of(int number) {
    if (number < 0 || number > static_cast<int>(KernelLayout::small_first))
        throw std::invalid_argument("kernel_layout must be 0, 1 or 2");
    return static_cast<KernelLayout>(number);
}

BoundCall bind(const std::string& map, const Sizes& first, const Sizes& first_strides, const Sizes& second,
                 const Sizes& second_strides, const Sizes& out, const Sizes& out_strides, bool bias, const Sizes& stride,
                 const Sizes& dilation, const Sizes& begin, Size groups, bool channels_first, int kernel_layout, int bytes) {
    return {map_named(map), {first, first_strides}, {second, second_strides}, {out, out_strides}, bias,
            fields_of(stride, dilation, begin, groups), channels_first, kernel_layout_of(kernel_layout), bytes};
}

void* memory(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

void run_bound(const BoundCall& call, std::uintptr_t first, std::uintptr_t second, std::uintptr_t bias, std::uintptr_t out) {
    const Unlocked unlocked;
    call(memory(first), memory(second), memory(bias), memory(out));
}

void run_bound_gradients(const BoundCall& call, std::uintptr_t x, std::uintptr_t kernel, std::uintptr_t grad_output,
                            std::uintptr_t x_gradient, std::uintptr_t kernel_gradient) {
    const Unlocked unlocked;
    call.gradients(memory(x), memory(kernel), memory(grad_output), memory(x_gradient), memory(kernel_gradient));
}

nb::list describe_phases(const std::vector<AxisPhase>& phases) {
    nb::list all;
    for (const AxisPhase& phase : phases) {
        nb::dict one;
        one["offset"] = phase.offset, one["step"] = phase.step, one["in_step"] = phase.in_step, one["group"] = phase.group;
        one["shifts"] = nb::cast(phase.shifts), one["index"] = nb::cast(phase.index);
        nb::list regions;
        for (const BorderRegion& region : phase.regions)
            regions.append(nb::make_tuple(region.first, region.count, region.tap, region.taps, region.cell, region.cells));
        one["regions"] = regions;
        all.append(one);
    }
    return all;
}

nb::tuple tuple_of(const Area& area) { return nb::make_tuple(area.image, area.images, area.cell, area.cells); }
nb::tuple tuple_of(const Range& range) { return nb::make_tuple(range.first, range.count); }
nb::tuple tuple_of(const PackedPerTask::Task& task) {
    const Area& area = task.area;
    return nb::make_tuple(area.image, area.images, area.cell, area.cells, task.subconvolution, task.block, task.blocks);
}

template <class Task>
nb::list describe_tasks(const std::vector<Task>& tasks) {
    nb::list all;
    for (const Task& task : tasks) all.append(tuple_of(task));
    return all;
}

// How the work is cut: its name, and each task.
struct DescribeWork {
    const Plan& plan;
    using Description = std::pair<const char*, nb::list>;
    Description operator()(const PackedOnce& work) const { return {"packed_once", describe_tasks(work.areas)}; }
    Description operator()(const PackedPerTask& work) const { return {"packed_per_task", describe_tasks(work.tasks)}; }
    Description operator()(const SplitK& work) const { return {"split_k", describe_tasks(work.tap_blocks)}; }
    Description operator()(const UnpackedRows& work) const { return {"unpacked_rows", describe_tasks(work.row_blocks)}; }
    Description operator()(const UnpackedColumns&) const {
        nb::list blocks;
        for (Size block = 0; block < plan.blocks(); ++block) blocks.append(nb::make_tuple(block, 1));
        return {"unpacked_columns", blocks};
    }
    Description operator()(const Spatial& work) const { return {"spatial", describe_tasks(work.areas)}; }
};

// A plan as Python data, for arrays that are channels last and without gaps.
nb::dict describe(const std::string& map, const std::vector<Size>& small, const std::vector<Size>& big,
                  const std::vector<Size>& kernel, const std::vector<Size>& stride, const std::vector<Size>& dilation,
                  const std::vector<Size>& begin, Size batch, Size groups, Size small_channels, Size big_channels, int bytes) {
    const Fields f = fields_of(stride, dilation, begin, groups);
    if (static_cast<int>(small.size()) != f.rank || static_cast<int>(big.size()) != f.rank ||
        static_cast<int>(kernel.size()) != f.rank || (bytes != 4 && bytes != 8))
        throw std::invalid_argument("small, big and kernel must have one entry for each axis, and bytes be 4 or 8");
    Problem p;
    p.map = map_named(map);
    p.batch = batch, p.groups = groups, p.small_channels = small_channels, p.big_channels = big_channels, p.bytes = bytes;
    p.lanes = lanes_of(used_instruction_set(), bytes);
    constexpr Size most = Size(1) << 24;
    for (Size field : {batch, groups, small_channels, big_channels})
        if (field < 1 || field > most) throw std::invalid_argument("batch, groups and channels must be from 1 to 2^24");
    if (double(groups) * double(small_channels) * double(big_channels) > double(Size(1) << 40))
        throw std::invalid_argument("groups and channels are out of range");
    for (int i = 0; i < f.rank; ++i)
        set_axis(p.axes[3 - f.rank + i], small[i], big[i], kernel[i], f.stride[i], f.dilation[i], f.begin[i]);
    for (const Axis& axis : p.axes)
        if (axis.small < 1 || axis.big < 1 || (p.transposed() && std::min(axis.stride, axis.big) > max_phases))
            throw std::invalid_argument("sizes must be at least 1, and strides not be larger than the kernels can plan for");
    nb::dict description;
    description["lanes"] = p.lanes;
    if (p.map == Map::kernel_gradient) {
        const GradientPlan plan = make_gradient_plan(p);
        nb::list axes, parts;
        for (const AxisPhase& phase : plan.axes) axes.append(describe_phases({phase}));
        for (const auto& part : plan.parts) parts.append(describe_tasks(part));
        description["method"] = plan.depthwise ? "depthwise_gradient" : "outer_product";
        description["big_in_lanes"] = plan.big_in_lanes, description["runs"] = plan.runs;
        description["axes"] = axes, description["parts"] = parts, description["multiply_adds"] = plan.multiply_adds;
        return description;
    }
    const Plan plan = make_plan(p);
    nb::list axes;
    for (const auto& axis : plan.axes) axes.append(describe_phases(axis));
    description["method"] = name(plan.method);
    description["axes"] = axes, description["columns"] = nb::cast(plan.columns);
    const auto [work, tasks] = std::visit(DescribeWork{plan}, plan.work);
    description["work"] = work, description["tasks"] = tasks;
    nb::list tap_blocks;
    for (const TapBlock& s : plan.tap_blocks)
        tap_blocks.append(nb::make_tuple(s.first[0], s.end[0], s.first[1], s.end[1], s.first[2], s.end[2]));
    description["split_axis"] = plan.split_axis, description["tap_blocks"] = tap_blocks;
    description["multiply_adds"] = plan.multiply_adds, description["vector_operations"] = plan.vector_operations;
    return description;
}

// Addresses of functions, as XLA takes them.
nb::dict xla_targets() {
    nb::dict all;
    all["unstride_conv"] = nb::capsule(reinterpret_cast<const void*>(&xla::conv));
    all["unstride_conv_transpose"] = nb::capsule(reinterpret_cast<const void*>(&xla::conv_transpose));
    all["unstride_kernel_gradient"] = nb::capsule(reinterpret_cast<const void*>(&xla::kernel_gradient));
    all["unstride_stack_forward"] = nb::capsule(reinterpret_cast<const void*>(&xla::stack_forward));
    all["unstride_stack_backward"] = nb::capsule(reinterpret_cast<const void*>(&xla::stack_backward));
    all["unstride_stack_crossentropy"] = nb::capsule(reinterpret_cast<const void*>(&xla::stack_crossentropy));
    all["unstride_binary_crossentropy"] = nb::capsule(reinterpret_cast<const void*>(&xla::binary_crossentropy));
    return all;
}

double peak(double seconds, int threads) {
    const Unlocked unlocked;
    std::vector<double> speeds(std::max(threads, 1), 0.0);
    const InstructionSet set = used_instruction_set();
    parallel(threads, threads, [&](Size task, int) { speeds[task] = fma_peak(set, seconds); });
    double sum = 0;
    for (double one : speeds) sum += one;
    return sum;
}

std::vector<InstructionSet> available_sets() {
    std::vector<InstructionSet> sets;
    for (InstructionSet set : {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512, InstructionSet::neon})
        if (available(set)) sets.push_back(set);
    return sets;
}

void use_set_named(const std::string& wanted) {
    std::string known;
    for (InstructionSet set : available_sets()) {
        if (wanted == name(set)) {
            use_instruction_set(set);
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
    nb::set_leak_warnings(false);  // a daemon thread at the program's end, or a cycle that nobody collects, is no leak of ours
    m.doc() = "The native core of unstride: arguments are checked so far that nothing crashes; unstride.ops explains.";
    m.def("compute", compute_arrays, nb::arg("transposed"), nb::arg("x"), nb::arg("kernel"), nb::arg("bias").none(),
          nb::arg("out"), nb::arg("stride"), nb::arg("dilation"), nb::arg("begin"), nb::arg("groups"), nb::arg("first"),
          nb::arg("kernel_first"), nb::arg("relu"), "Writes conv_transpose or conv of x to out.");
    m.def("gradient", gradient_arrays, nb::arg("big"), nb::arg("small"), nb::arg("out"), nb::arg("stride"), nb::arg("dilation"),
          nb::arg("begin"), nb::arg("groups"), nb::arg("first"), nb::arg("kernel_first"),
          "Writes kernel_gradient of big and small to out.");
    nb::class_<BoundCall>(m, "BoundCall", "A call for arrays of known shapes, which takes their addresses.")
        .def("__call__", run_bound, nb::arg("first"), nb::arg("second"), nb::arg("bias"), nb::arg("out"))
        .def("gradients", run_bound_gradients, nb::arg("x"), nb::arg("kernel"), nb::arg("grad_output"), nb::arg("x_gradient"),
             nb::arg("kernel_gradient"));
    m.def("bind", bind, nb::arg("map"), nb::arg("first"), nb::arg("first_strides"), nb::arg("second"),
          nb::arg("second_strides"), nb::arg("out"), nb::arg("out_strides"), nb::arg("bias"), nb::arg("stride"),
          nb::arg("dilation"), nb::arg("begin"), nb::arg("groups"), nb::arg("channels_first"), nb::arg("kernel_layout"),
          nb::arg("bytes"), "A call of 'conv_transpose', 'conv' or 'kernel_gradient' but for the memory.");
    m.def(
        "set_openmp",
        [](std::uintptr_t fork_join, std::uintptr_t most) {
            set_openmp(reinterpret_cast<ForkJoin>(fork_join), reinterpret_cast<MaxThreads>(most));
        },
        nb::arg("fork_join"), nb::arg("max_threads"),
        "The addresses of GOMP_parallel and omp_get_max_threads, on whose threads bound calls run from now on; 0: on ours.");
    m.def("describe", describe, nb::arg("map"), nb::arg("small"), nb::arg("big"), nb::arg("kernel"), nb::arg("stride"),
          nb::arg("dilation"), nb::arg("begin"), nb::arg("batch"), nb::arg("groups"), nb::arg("small_channels"),
          nb::arg("big_channels"), nb::arg("bytes"), "The plan of a map, as Python data; channels are those of a group.");
    bind_cached_calls(m);
    bind_stack(m);
    bind_testing(m);
    m.def("xla_targets", xla_targets, "The maps, stacks and losses as foreign functions of XLA: a capsule for each name.");
    m.attr("max_phases") = max_phases;
    m.attr("max_threads") = max_threads;
    m.def("num_threads", num_threads, "How many threads a call uses.");
    m.def("set_num_threads", set_num_threads, nb::arg("count"));
    m.def("instruction_set", [] { return name(used_instruction_set()); }, "The instruction set whose kernels run.");
    m.def("use_instruction_set", use_set_named, nb::arg("name"), "Runs the kernels of another one from now on.");
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
