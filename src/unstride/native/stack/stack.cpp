// Stacks, group by group of images, forwards and backwards.
#include "stack/stack.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "stack/in_order.hpp"
#include "stack/losses.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"
#include "stack/stack_arrays.hpp"
#include "stack/stack_maps.hpp"
#include "stack/winograd.hpp"

namespace unstride {

namespace {

// What one worker needs for itself.
struct Room {
    const float** taps;
    Size* offsets;
    float* sums;      // a vector for each channel, then for each of a stage's products
    float* winograd;
};

// A stack with its weights packed, for its maps, or their adjoints, or both, and what the threads share of it.
class Runner {
   public:
       Runner(const Stack& stack, const std::vector<Array>& weights, bool forward, bool backward)
           : stack(stack), kernels(batch_kernels(stack.set)), arrays(unstride::kernels<float>(stack.set)),
             packed_(packed_numbers(stack, forward + backward)) {
           float* to = packed_.data();
           std::size_t at = 0;
           for (const Stage& stage : stack.stages) {
               const float* kernel = weights[at++].as<float>();
               Weights w{};
               if (forward) pack_for(stage, kernel, false, to, w.map, w.winograd_map);
               if (backward) pack_for(stage, kernel, true, to, w.adjoint, w.winograd_adjoint);
               if (stage.bias) w.bias = weights[at++].as<float>();
               weights_.push_back(w);
           }
           for (const Stage& stage : stack.stages) {
               max_taps = std::max(max_taps, stage.taps());
               max_rows = std::max(max_rows, stage.axes[2].kernel * stage.big_channels);
               max_sums = std::max(max_sums, std::max(stage.kernel_numbers(), frequency_numbers(stage)) * stack.lanes);
               gradient_numbers += stage_sums(stage);
               if (stage.winograd)
                   max_winograd =
                       std::max(max_winograd, winograd_numbers(stage.big_channels, stage.small_channels, stack.lanes));
           }
           for (const BatchGrid& grid : stack.grids)
               max_numbers = std::max(max_numbers, grid.numbers()), max_channels = std::max(max_channels, grid.channels);
           max_sums += max_channels * stack.lanes;
       }

    void forward(std::size_t i, const float* in, float* out, const Room& room) const {
        const Stage& stage = stack.stages[i];
        const BatchGrid &in_grid = stack.grids[i], &grid = stack.grids[i + 1];
        const bool relu = stage.activation == Activation::relu;
        const Weights& w = weights_[i];
        const Size ins = stage.in_channels(), outs = stage.out_channels();
        if (!stage.winograd || !winograd_run(kernels, {stage.forward, stage.groups, ins, outs, w.winograd_map, w.bias, relu},
                                             in_grid, in, grid, out, room.winograd))
            run(kernels, {stage.forward, stage.axes, stage.groups, ins, outs, w.map, w.bias, relu}, in_grid, in, grid, out,
                room.taps, room.taps + max_taps);
        if (stage.fused()) return;
        if (grid.pixel == grid.channels * kernels.lanes) {
            kernels.activate(out, grid.positions() * grid.channels, stage.activation, stage.slope);
        } else {
            for (Size p = 0; p < grid.positions(); ++p)
                kernels.activate(out + p * grid.pixel, grid.channels, stage.activation, stage.slope);
        }
    }

    // `gradient` is that by the stage's output, and becomes that by what its activation was given, if it is not yet
    // (`differentiated`). Writes what one group adds to the gradients of the weights: kernel_sums(stage) numbers, and the
    // bias's. Returns whether in_gradient, unless it is null, is already the gradient with respect to what the activation of
    // the stage before was given; its sums are then in the room.
    bool backward(std::size_t i, const float* in, const float* out, float* gradient, bool differentiated, float* in_gradient,
                  float* sums, const Room& room) const {
        const Stage& stage = stack.stages[i];
        const BatchGrid &in_grid = stack.grids[i], &out_grid = stack.grids[i + 1];
        const Size ins = stage.in_channels(), outs = stage.out_channels();
        float* const bias = room.sums;
        float* const products = bias + max_channels * kernels.lanes;
        if (!differentiated) {
            std::fill_n(bias, out_grid.channels * kernels.lanes, 0.0f);
            kernels.differentiate(gradient, out, out_grid.positions(), out_grid.channels, out_grid.pixel, stage.activation,
                                  stage.slope, bias);
        }
        kernels.reduce(bias, stage.groups * outs, sums + kernel_sums(stage));
        const BatchGrid &big_grid = stage.transposed ? out_grid : in_grid, &small_grid = stage.transposed ? in_grid : out_grid;
        const float *big = stage.transposed ? gradient : in, *small = stage.transposed ? in : gradient;
        const Size taps = stage.kernel_numbers(), frequencies = frequency_numbers(stage);
        const Weights& w = weights_[i];
        const Stage* const before = i > 0 ? &stack.stages[i - 1] : nullptr;
        const bool relu = before && before->activation == Activation::relu;
        const WinogradMap adjoint{stage.backward, stage.groups, outs, ins, w.winograd_adjoint, nullptr, false,
                                  relu ? in : nullptr, bias};
        const auto clear = [&] { std::fill_n(bias, in_grid.channels * kernels.lanes, 0.0f); };
        const bool shared = stage.winograd && in_gradient && winograd_shares(stage, kernels.lanes);
        clear();
        if (stage.winograd && winograd_multiply(kernels, stage, big_grid, big, small_grid, small, sums + taps, products,
                                                shared ? &adjoint : nullptr, in_gradient, room.offsets, room.winograd)) {
            std::fill_n(sums, taps, 0.0f);
            if (shared) return relu;
        } else {
            multiply(kernels, stage, big_grid, big, small_grid, small, products, room.offsets);
            kernels.reduce(products, taps, sums);
            std::fill_n(sums + taps, frequencies, 0.0f);
        }
        if (!in_gradient) return false;
        clear();  // of what was left behind, or broken off
        if (stage.winograd && winograd_run(kernels, adjoint, out_grid, gradient, in_grid, in_gradient, room.winograd))
            return relu;
        clear();  // likewise
        run(kernels, {stage.backward, stage.axes, stage.groups, outs, ins, w.adjoint, nullptr, false, before, in, bias},
            out_grid, gradient, in_grid, in_gradient, room.taps, room.taps + max_taps);
        return before != nullptr;
    }

    // What all groups added together, as the gradients themselves.
    void finish(double* totals, const std::vector<Array>& weight_gradients) const {
        std::size_t at = 0;
        for (const Stage& stage : stack.stages) {
            if (stage.winograd) winograd_gradient(stage, totals + stage.kernel_numbers(), totals);
            float* const kernel = weight_gradients[at++].as<float>();
            const double* from = totals;
            for (Size group = 0; group < stage.groups; ++group)
                for (Size tap = 0; tap < stage.taps(); ++tap)
                    for (Size big = 0; big < stage.big_channels; ++big)
                        for (Size small = 0; small < stage.small_channels; ++small)
                            kernel[kernel_place(stack, stage, group, tap, big, small)] = static_cast<float>(*from++);
            totals += kernel_sums(stage);
            const Size outs = stage.groups * stage.out_channels();
            if (stage.bias) std::copy_n(totals, outs, weight_gradients[at++].as<float>());
            totals += outs;
        }
    }

    // Numbers that a group adds to a kernel's gradient: for each pair of channels taps, then frequencies, if the stage has
    // them. One group has the one, and one whose numbers are not all finite the other.
    static Size kernel_sums(const Stage& stage) { return stage.kernel_numbers() + frequency_numbers(stage); }

    // The same and the bias's, which are there even if the stage has no bias.
    static Size stage_sums(const Stage& stage) { return kernel_sums(stage) + stage.groups * stage.out_channels(); }

    const Stack& stack;
    const BatchKernels& kernels;
    const Kernels<float>& arrays;
    Size max_taps = 1, max_rows = 1, max_sums = 1, max_numbers = 1, max_channels = 1, max_winograd = 0, gradient_numbers = 0;

   private:
    struct Weights {
        const float *map, *adjoint, *winograd_map, *winograd_adjoint, *bias;
    };

    static Size frequency_numbers(const Stage& stage) {
        return stage.winograd ? stage.kernel_numbers() / stage.taps() * winograd_frequencies : 0;
    }

    static Size packed_numbers(const Stack& stack, int directions) {
        Size sum = 0;
        for (const Stage& stage : stack.stages) sum += kernel_sums(stage) * directions;
        return sum;
    }

    void pack_for(const Stage& stage, const float* kernel, bool adjoint, float*& to, const float*& plain,
                  const float*& winograd) const {
        pack(stack, stage, kernel, adjoint, to);
        plain = to;
        to += stage.kernel_numbers();
        if (!stage.winograd) return;
        const Size ins = adjoint ? stage.out_channels() : stage.in_channels();
        const Size outs = adjoint ? stage.in_channels() : stage.out_channels();
        winograd_weights(adjoint ? stage.backward : stage.forward, stage.groups, ins, outs, plain, to);
        winograd = to;
        to += frequency_numbers(stage);
    }

    Scratch<float> packed_;
    std::vector<Weights> weights_;
};

// The rooms of all workers.
class Rooms {
   public:
    Rooms(const Runner& runner, int threads, bool backward)
        : runner_(runner), sums_(backward ? runner.max_sums : 0), pointers_(threads * 2 * runner.max_taps),
          offsets_(backward ? threads * runner.max_rows : 0), numbers_(threads * (sums_ + runner.max_winograd)) {}

    Room operator[](int worker) const {
        float* const own = numbers_.data() + worker * (sums_ + runner_.max_winograd);
        return {pointers_.data() + worker * 2 * runner_.max_taps, offsets_.data() + worker * runner_.max_rows, own,
                own + sums_};
    }

   private:
    const Runner& runner_;
    const Size sums_;
    Scratch<const float*> pointers_;
    Scratch<Size> offsets_;
    Scratch<float> numbers_;
};

Size images_of(const Stack& stack, Size batch, Size group) {
    return std::min<Size>(stack.lanes, batch - group * stack.lanes);
}

int threads_for(Size groups) { return static_cast<int>(std::min<Size>(num_threads(), std::max<Size>(groups, 1))); }

constexpr Size least_waiting = 16;  // groups whose gradients may wait to be added up in order

}  // namespace

void stack_forward(const Stack& stack, const Array& x, const std::vector<Array>& weights, const Array& y, float* saved) {
    const Size batch = x.sizes[0];
    check(x, image_shape(stack, stack.grids.front(), batch));
    check(y, image_shape(stack, stack.grids.back(), batch));
    check_weights(stack, weights);
    if (saved && batch > 0) saved[saved_numbers(stack, batch) - 1] = float(int(stack.set));
    if (y.empty() && !saved) return;
    const Runner runner(stack, weights, true, false);
    const Size count = stack.groups(batch), numbers = runner.max_numbers;
    const int threads = threads_for(count);
    Scratch<float> memory(saved ? 0 : threads * 2 * numbers);
    const Rooms rooms(runner, threads, false);
    const Images ins{stack, stack.grids.front()}, outs{stack, stack.grids.back()};
    parallel(count, threads, [&](Size group, int worker) {
        const Size images = images_of(stack, batch, group), first = group * stack.lanes;
        float* at = saved ? saved + group * stack.saved() : memory.data() + worker * 2 * numbers;
        float* next = at + (saved ? stack.grids[0].numbers() : numbers);
        ins.read(runner.arrays, x.as<float>() + first * ins.numbers(), images, false, at);
        for (std::size_t i = 0; i < stack.stages.size(); ++i) {
            runner.forward(i, at, next, rooms[worker]);
            if (saved)
                at = next, next += stack.grids[i + 1].numbers();
            else
                std::swap(at, next);
        }
        outs.write(runner.arrays, at, images, y.as<float>() + first * outs.numbers());
    });
}

namespace {

// Backwards, group by group. grad_output(group's first image, how many, the lanes of the result, the lanes of the gradient
// with respect to it, room for max_numbers) writes the gradient with respect to the result; where `saved` is null the stack
// of x is computed once more.
template <class GradOutput>
void go_back(const Stack& stack, Size batch, const Array* x, const std::vector<Array>& weights, const float* saved,
             const Array* x_gradient, const std::vector<Array>& weight_gradients, const GradOutput& grad_output) {
    const BatchGrid &in_grid = stack.grids.front(), &out_grid = stack.grids.back();
    if (!saved) {
        if (!x) throw std::invalid_argument("x and saved are both missing");
        check(*x, image_shape(stack, in_grid, batch));
    }
    if (x_gradient) check(*x_gradient, image_shape(stack, in_grid, batch));
    check_weights(stack, weights);
    check_weights(stack, weight_gradients);
    const Runner runner(stack, weights, !saved, true);
    const Size count = stack.groups(batch), numbers = runner.gradient_numbers;
    const int threads = threads_for(count);
    const Size kept = saved ? 0 : stack.saved(), own_numbers = kept + 2 * runner.max_numbers;
    Scratch<float> memory(threads * own_numbers);
    InOrder gradients(numbers, std::max<Size>(std::min(std::max<Size>(least_waiting, 2 * threads), count), 1));
    const Rooms rooms(runner, threads, true);
    const Images ins{stack, in_grid};

    const auto one_group = [&](Size group, int worker, float* to) {
        const Size first = group * stack.lanes, images = images_of(stack, batch, group);
        const Room room = rooms[worker];
        float* const own = memory.data() + worker * own_numbers;
        float* gradient = own + kept;
        float* in_gradient = gradient + runner.max_numbers;
        if (!saved) {
            ins.read(runner.arrays, x->as<float>() + first * ins.numbers(), images, false, own);
            float* at = own;
            for (std::size_t i = 0; i < stack.stages.size(); ++i) {
                float* const next = at + stack.grids[i].numbers();
                runner.forward(i, at, next, room);
                at = next;
            }
        }
        const float* out = (saved ? saved + group * stack.saved() : own) + stack.saved() - out_grid.numbers();
        grad_output(first, images, out, gradient, in_gradient);
        to += numbers;
        bool differentiated = false;
        for (std::size_t i = stack.stages.size(); i-- > 0;) {
            const float* const in = out - stack.grids[i].numbers();
            to -= runner.stage_sums(stack.stages[i]);
            differentiated =
                runner.backward(i, in, out, gradient, differentiated, i > 0 || x_gradient ? in_gradient : nullptr, to, room);
            std::swap(gradient, in_gradient);
            out = in;
        }
        if (x_gradient) ins.write(runner.arrays, gradient, images, x_gradient->as<float>() + first * ins.numbers());
    };

    parallel(count, threads, [&](Size group, int worker) {
        one_group(group, worker, gradients.place(group));
        gradients.done(group);
    });
    runner.finish(gradients.sums(), weight_gradients);
}

}  // namespace

void stack_backward(const Stack& stack, const Array* x, const std::vector<Array>& weights, const Array& y_gradient,
                    const float* saved, const Array* x_gradient, const std::vector<Array>& weight_gradients) {
    const Images outs{stack, stack.grids.back()};
    const Kernels<float>& arrays = kernels<float>(stack.set);
    check(y_gradient, image_shape(stack, outs.grid, y_gradient.sizes[0]));
    go_back(stack, y_gradient.sizes[0], x, weights, saved, x_gradient, weight_gradients,
            [&](Size first, Size images, const float*, float* gradient, float*) {
                outs.read(arrays, y_gradient.as<float>() + first * outs.numbers(), images, true, gradient);
            });
}

void stack_crossentropy(const Stack& stack, const Array& x, const std::vector<Array>& weights, const Array& target,
                        float epsilon, const Array& y, const Array& loss, const std::vector<Array>& weight_gradients) {
    const Images outs{stack, stack.grids.back()};
    const Kernels<float>& arrays = kernels<float>(stack.set);
    const BatchKernels& lanes = batch_kernels(stack.set);
    check_epsilon(epsilon);
    for (const Array* array : {&target, &y, &loss}) check(*array, image_shape(stack, outs.grid, x.sizes[0]));
    go_back(stack, x.sizes[0], &x, weights, nullptr, nullptr, weight_gradients,
            [&](Size first, Size images, const float* out, float* gradient, float* derivative) {
                const Size at = first * outs.numbers();
                outs.write(arrays, out, images, y.as<float>() + at);
                lanes.binary_crossentropy({target.as<float>() + at, y.as<float>() + at, images * outs.numbers(), epsilon,
                                           loss.as<float>() + at, derivative});
                outs.read(arrays, derivative, images, true, gradient);
            });
}

}  // namespace unstride
