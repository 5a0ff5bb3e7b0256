// A program of somebody else: checks the whole way from the headers to the linked libraries.
#include <flatland/dr/plot.h>
#include <flatland/dr/readers.h>
#include <flatland/dr/routines.h>
#include <flatland/kernels/version.h>

#include <cstdio>
#include <vector>

int main() {
  using namespace flatland;
  std::vector<float> values;
  for (int i = 0; i < 40; ++i) values.push_back(static_cast<float>(i * i % 17));
  const Tensor x = Tensor::from(values, {20, 2});
  ParametricTSNE tsne({.in_dim = 2, .perplexity = 3, .epochs = 2, .init_epochs = 1});
  tsne.train(x);
  const Tensor y = tsne.apply(x);
  try {
    read_npy("nowhere.npy.gz");
    return 1;
  } catch (const Error& error) {
    std::printf("flatland %s, pictures %d: %s\n", FLATLAND_VERSION, plot_available(), error.what());
  }
  return y.size(0) == 20 && y.size(1) == 2 ? 0 : 1;
}
