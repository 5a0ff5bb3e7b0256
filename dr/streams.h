// Which random numbers a routine draws where. A draw depends on nothing but (seed, stream, index), so the
// streams of one seed are told apart here and nowhere else.
#pragma once

#include <flatland/kernels/random.h>

#include <cstdint>

namespace flatland {

// A stream number is made of  domain (8 bits) | phase (24 bits) | number (32 bits):
//
//   domain 0   initial weights: number = position of the parameter in Module::parameters()
//
//   domain 1   order of the items: phase, number = epoch; draw i decides the place of item i
//
//   domain 2   input noise: phase, number = epoch; draw i D + j goes to column j of the i-th row of the
//              epoch's order; batches of edges count as many rows each as they may have at most
//
//   domain 3   weighted items: phase, number = epoch; draw i decides the i-th
//
//   domain 4   sampled edges: phase, number = epoch; draw i decides the target of the i-th pair
//
//   domain 5   draws from a data set: phase 0, draw i decides the place of item i; phase 1, draw i the i-th
//              item; phase 2, the same as phase 0 for a split
//
//   domain 6   layers that draw: number = position of the random state in the module (engine/module.cpp)
//
//   domain 7   order of a loader's items: number = epoch; draw i decides the place of item i
enum class StreamDomain : std::uint64_t {
  parameters = 0,
  order = 1,
  input_noise = 2,
  weighted_items = 3,
  edges = 4,
  drawn_items = 5,
  layers = 6,
  loader = 7
};

constexpr kernels::RandomStream stream_of(std::uint64_t seed, StreamDomain domain, std::uint64_t phase,
                                          std::uint64_t number) {
  return {seed,
          static_cast<std::uint64_t>(domain) << 56 | (phase & 0xffffffu) << 32 | (number & 0xffffffffu)};
}

}  // namespace flatland
