#include "examples/support/mnist.h"

#include <flatland/dr/readers.h>

#include <string>

namespace flatland::examples {

LabelledImages read_mnist(const std::filesystem::path& folder) {
  for (const std::string part : {"train", "train-20000"}) {
    for (const std::string ending : {"", ".gz"}) {
      const std::filesystem::path images = folder / (part + "-images-idx3-ubyte" + ending);
      if (!std::filesystem::exists(images)) continue;
      LabelledImages mnist{.images = read_idx_images(images),
                           .labels = read_idx_labels(folder / (part + "-labels-idx1-ubyte" + ending))};
      FLATLAND_CHECK(mnist.images.size(0) == mnist.labels.numel(), images.string(), ": holds ",
                     mnist.images.size(0), " images but there are ", mnist.labels.numel(), " labels");
      return mnist;
    }
  }
  detail::fail(folder.string(),
               ": has no train-images-idx3-ubyte[.gz]; get it with examples/get_data.sh mnist --to ",
               folder.string(), ", or say where it is with --data");
}

}  // namespace flatland::examples
