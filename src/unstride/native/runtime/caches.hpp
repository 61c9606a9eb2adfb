// How many bytes of something should stay in a cache. Each is the best of those that were tried, by itself, on the processors
// named where it is used; the ones of one cache are not meant to add up.
#pragma once

#include <cstdint>

namespace unstride {
namespace cache {

using Bytes = std::int64_t;

constexpr Bytes kib = 1024;
constexpr Bytes line = 64;
constexpr Bytes alias = 4 * kib;         // so far apart, addresses share a set of lines of the first level
constexpr Bytes huge_page = 2048 * kib;  // of the system's memory, for which one page fault does

// First level.
constexpr Bytes tap_block = 24 * kib;      // a dot's weights, besides its input
constexpr Bytes spatial_strip = 24 * kib;  // results of method `spatial`

// Second level: packed weights.
constexpr Bytes weights = 640 * kib;       // of all phases, besides input and output
constexpr Bytes task_weights = 384 * kib;  // that a task packs for itself

// Second level: inputs and outputs.
constexpr Bytes input_copies = 640 * kib;    // of a thread's tile
constexpr Bytes task_output = 512 * kib;     // so that the phases of a task find each other's lines
constexpr Bytes spatial_planes = 384 * kib;  // a task's input
constexpr Bytes product_input = 640 * kib;   // what a task of a kernel gradient reads, for all taps
constexpr Bytes batch_rows = 256 * kib;      // of both grids, for one round of a stack's products
constexpr Bytes transposed_strip = 64 * kib;
constexpr Bytes hidden = 256 * kib;          // a tile's input that is larger has to be fetched early

// Second level: sums.
constexpr Bytes split_k_sums = 1024 * kib;   // of all parts, of a map
constexpr Bytes unpacked_sums = 256 * kib;   // of a block of columns
constexpr Bytes product_sums = 64 * kib;     // of a task of a kernel gradient
constexpr Bytes product_parts = 1024 * kib;  // of all its parts

// Second level: Winograd's algorithm, in half of the cache where another process shares the core.
constexpr Bytes winograd_chunk = 256 * kib;       // frequencies at a time
constexpr Bytes winograd_sums_chunk = 512 * kib;  // the same where larger sums go through the cache for each chunk
constexpr Bytes winograd_sums = 512 * kib;        // of products

}  // namespace cache
}  // namespace unstride
