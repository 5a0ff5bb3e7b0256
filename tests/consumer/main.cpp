// A program of somebody else: checks the whole way from the header to the linked library.
#include <flatland/engine/tensor.h>
#include <flatland/kernels/version.h>

#include <cstdio>

int main() {
  using namespace flatland;
  const Tensor x = Tensor::of({{1, 2}, {3, 4}});
  std::printf("flatland %s: a tensor of %d rows\n", FLATLAND_VERSION, static_cast<int>(x.size(0)));
  return x.at(1, 0) == 3 ? 0 : 1;
}
