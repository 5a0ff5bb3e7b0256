#include "examples/support/mnist.h"

#include "examples/support/console.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/readers.h>

#include <string>
#include <vector>

namespace flatland::examples {

LabelledImages read_mnist(const std::filesystem::path& data, MnistPart part) {
  const std::vector<std::string> names = part == MnistPart::train
                                             ? std::vector<std::string>{"train", "train-20000"}
                                             : std::vector<std::string>{"t10k"};
  for (const std::filesystem::path& folder : data_folders(data, "mnist"))
    for (const std::string& name : names)
      for (const std::string ending : {"", ".gz"}) {
        const std::filesystem::path images = folder / (name + "-images-idx3-ubyte" + ending);
        if (!std::filesystem::exists(images)) continue;
        LabelledImages mnist{.images = read_idx_images(images),
                             .labels = read_idx_labels(folder / (name + "-labels-idx1-ubyte" + ending))};
        FLATLAND_CHECK(mnist.images.size(0) == mnist.labels.numel(), images.string(), ": holds ",
                       mnist.images.size(0), " images but there are ", mnist.labels.numel(), " labels");
        return mnist;
      }
  detail::fail(data.string(), ": has no ", names.front(), "-images-idx3-ubyte[.gz]; get it with ",
               get_data_command(data, "mnist"), ", or say where it is with --data");
}

MnistSplit read_mnist_split(Report& report, const Options& options, std::int64_t n) {
  const Dataset all = timed_stage(report, "reading " + options.data.string(), [&] {
    const LabelledImages mnist = read_mnist(options.data);
    return Dataset{{"main", mnist.images}, {"labels", mnist.labels}};
  });
  return {all, all.first(n), all.slice(n, 2 * n)};
}

void write_mnist_maps(Report& report, const Options& options, const MnistSplit& mnist,
                      const ParametricDR& routine, const std::string& title) {
  const LabelledPoints train = embedded(routine, mnist.train), unseen = embedded(routine, mnist.unseen);
  const Tensor everything =
      timed_stage(report, "embedding all " + std::to_string(mnist.all.size()) + " images",
                  [&] { return routine.apply(mnist.all); });
  const std::vector<Quality> qualities = measured(report, train, unseen);
  write_results(report, options,
                {.title = title,
                 .panels = {{.title = "train",
                             .note = summary(qualities[0]),
                             .content = Scatter{.points = train.y, .labels = train.labels}},
                            {.title = "unseen",
                             .note = summary(qualities[1]),
                             .content = Scatter{.points = unseen.y, .labels = unseen.labels}},
                            {.title = "all, by the same map",
                             .note = std::to_string(mnist.all.size()) + " items",
                             .content = Scatter{.points = everything, .labels = mnist.all["labels"]}}},
                 .same_scale = true},
                "mnist.png");
}

}  // namespace flatland::examples
