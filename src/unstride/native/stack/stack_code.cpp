// A stack's description, read and checked.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "plan/plan.hpp"
#include "stack/stack.hpp"
#include "runtime/caches.hpp"
#include "stack/winograd.hpp"

namespace unstride {

namespace {

[[noreturn]] void wrong(const std::string& what) { throw std::invalid_argument("code: " + what); }

// The integers of a description, one after another.
class Reader {
   public:
    Reader(const Size* code, Size count) : at_(code), end_(code + count) {}

    Size number(const char* name, Size least, Size most) {
        if (at_ == end_) wrong(std::string("it ends where ") + name + " is expected");
        if (*at_ < least || *at_ > most) wrong(std::string(name) + " is " + std::to_string(*at_) + ", which is out of range");
        return *at_++;
    }

    // One number an axis; the axes are the last `rank` of three.
    void axes(const char* name, int rank, Size least, Size* to) {
        for (int axis = 3 - rank; axis < 3; ++axis) to[axis] = number(name, least, max_size);
    }

    bool ended() const { return at_ == end_; }

    static constexpr Size max_size = Size(1) << 40;

   private:
    const Size* at_;
    const Size* end_;
};

constexpr Size max_channels = Size(1) << 24;
constexpr Size max_stages = 4096;
constexpr double max_numbers = double(Size(1) << 40);  // of a grid or kernel: far beyond memory

BatchGrid grid_of(const Size* size, Size channels, int lanes) {
    BatchGrid grid{{size[0], size[1], size[2]}, channels, channels * lanes};
    // Positions a multiple of 1024 bytes apart would share a few lines of the first-level cache. With 32 channels of 16 images
    // the windows of Winograd's algorithm were pushed out while they were read: 116 instead of 59 ns a channel (Zen 4).
    if (grid.pixel * 4 % (cache::alias / 4) == 0) grid.pixel += lanes;
    if (double(size[0]) * double(size[1]) * double(size[2]) * double(grid.pixel) > max_numbers)
        wrong("a grid has more numbers than any memory");
    return grid;
}

Stage read_stage(Reader& code, int rank, const BatchGrid& in, Size out_size[3], Size& out_channels) {
    Stage stage{};
    stage.transposed = code.number("transposed", 0, 1) != 0;
    out_channels = code.number("the number of output channels", 1, max_channels);
    stage.groups = code.number("the number of groups", 1, max_channels);
    stage.bias = code.number("bias", 0, 1) != 0;
    stage.activation = static_cast<Activation>(code.number("the activation", 0, Size(Activation::sigmoid)));
    const auto bits = static_cast<std::uint32_t>(code.number("the activation's slope", 0, 0xffffffff));
    std::memcpy(&stage.slope, &bits, sizeof(bits));
    if (in.channels % stage.groups != 0 || out_channels % stage.groups != 0)
        wrong("channels cannot be divided by the number of groups");
    const Size ins = in.channels / stage.groups, outs = out_channels / stage.groups;
    stage.big_channels = stage.transposed ? outs : ins, stage.small_channels = stage.transposed ? ins : outs;
    Size kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, begin[3] = {0, 0, 0};
    code.axes("the kernel's size", rank, 1, kernel);
    code.axes("the stride", rank, 1, stride);
    code.axes("the dilation", rank, 1, dilation);
    code.axes("the crop", rank, -Reader::max_size, begin);
    code.axes("the output's size", rank, 0, out_size);
    if (double(kernel[0]) * double(kernel[1]) * double(kernel[2]) * double(ins) * double(out_channels) > max_numbers)
        wrong("a kernel has more numbers than any memory");
    bool one_phase = true;
    for (int axis = 0; axis < 3; ++axis) {
        const Size small = stage.transposed ? in.size[axis] : out_size[axis];
        const Size big = stage.transposed ? out_size[axis] : in.size[axis];
        one_phase = one_phase && stride[axis] == 1 && big > 0;
        set_axis(stage.axes[axis], small, big, kernel[axis], stride[axis], dilation[axis], begin[axis]);
        if (std::min(stride[axis], big) > max_phases) wrong("a stride is larger than the kernels can plan for");
        std::vector<AxisPhase> up = phases(stage.axes[axis]), down = sweep(stage.axes[axis], 1);
        stage.forward[axis] = stage.transposed ? up : down;
        stage.backward[axis] = stage.transposed ? std::move(down) : std::move(up);
    }
    stage.winograd = winograd_pays(stage.axes, ins, outs);
    // One small channel would leave a load for each multiply-add: 105 instead of 60 us for 32 channels, 28 x 28 positions and
    // 3 x 3 taps (Zen 4).
    stage.products_over_big = !stage.winograd && one_phase && stage.small_channels == 1 && stage.big_channels > 1;
    for (int axis = 0; axis < 3; ++axis)
        stage.products[axis] = stage.transposed == stage.products_over_big ? stage.forward[axis] : stage.backward[axis];
    return stage;
}

}  // namespace

Size Stack::saved() const {
    Size sum = 0;
    for (const BatchGrid& grid : grids) sum += grid.numbers();
    return sum;
}

Size saved_numbers(const Stack& stack, Size batch) {
    const Size groups = stack.groups(batch);
    return groups == 0 ? 0 : groups * stack.saved() + 1;
}

float* saved_of(const Stack& stack, const Array& saved, Size batch) {
    if (saved.bytes != 4 || saved.dimensions != 1 || !saved.contiguous() || saved.sizes[0] != saved_numbers(stack, batch))
        throw std::invalid_argument("saved is not one contiguous axis of stack_saved(code, batch) numbers of type float32");
    return saved.as<float>();
}

InstructionSet saved_set(const Array& saved) {
    if (saved.bytes == 4 && saved.dimensions == 1 && !saved.empty() && saved.contiguous())
        for (InstructionSet set :
             {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512, InstructionSet::neon})
            if (available(set) && saved.as<float>()[saved.sizes[0] - 1] == float(int(set))) return set;
    throw std::invalid_argument("saved is not what stack_forward kept");
}

Stack read_stack(const Size* numbers, Size count, InstructionSet set) {
    Reader code(numbers, count);
    Stack stack{};
    const int lanes = lanes_of(set, 4);
    stack.set = set, stack.lanes = lanes;
    stack.rank = static_cast<int>(code.number("the number of spatial axes", 1, 3));
    stack.first = code.number("channels first", 0, 1) != 0;
    const Size stages = code.number("the number of stages", 1, max_stages);
    Size channels = code.number("the number of input channels", 1, max_channels), size[3] = {1, 1, 1};
    code.axes("the input's size", stack.rank, 0, size);
    stack.grids.push_back(grid_of(size, channels, lanes));
    for (Size i = 0; i < stages; ++i) {
        stack.stages.push_back(read_stage(code, stack.rank, stack.grids.back(), size, channels));
        stack.grids.push_back(grid_of(size, channels, lanes));
    }
    if (!code.ended()) wrong("there are more numbers than the stages need");
    return stack;
}

}  // namespace unstride
