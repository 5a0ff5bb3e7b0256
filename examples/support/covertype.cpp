#include "examples/support/covertype.h"

#include "examples/support/console.h"

#include <flatland/dr/draw.h>
#include <flatland/dr/readers.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/random.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace flatland::examples {

namespace {

std::filesystem::path covertype_file(const std::filesystem::path& data) {
  if (std::filesystem::is_regular_file(data)) return data;
  for (const std::filesystem::path& folder : data_folders(data, "covertype"))
    for (const char* name : {"covertype.csv", "covertype.csv.gz", "covtype.data", "covtype.data.gz"})
      if (std::filesystem::exists(folder / name)) return folder / name;
  detail::fail(data.string(), ": has no covtype.data[.gz] or covertype.csv[.gz]; get it with ",
               get_data_command(data, "covertype"), ", or say where it is with --data");
}

// Up to n items that were not drawn, one of each type after another.
std::vector<std::int64_t> others(const Tensor& labels, const Tensor& drawn, std::int64_t n,
                                 std::uint64_t seed) {
  const auto label = labels.to_vector<std::int64_t>(), taken = drawn.to_vector<std::int64_t>();
  const std::set<std::int64_t> known(taken.begin(), taken.end());
  std::vector<std::int64_t> order(label.size());
  kernels::random_permutation(current_exec(), {.seed = seed, .stream = 1}, order);
  std::vector<std::vector<std::int64_t>> pools(7);
  for (const std::int64_t i : order)
    if (!known.contains(i))
      pools.at(static_cast<std::size_t>(label[static_cast<std::size_t>(i)])).push_back(i);
  std::vector<std::int64_t> items;
  for (std::size_t round = 0; std::ssize(items) < n; ++round) {
    const std::size_t before = items.size();
    for (const auto& pool : pools)
      if (round < pool.size() && std::ssize(items) < n) items.push_back(pool[round]);
    if (items.size() == before) break;
  }
  return items;
}

}  // namespace

CovertypeSample read_covertype(Report& report, const Options& options) {
  const std::int64_t train = options.quick ? 700 : 7000, unseen = options.quick ? 500 : 5000;
  const std::filesystem::path file = covertype_file(options.data);
  return timed_stage(report, "reading " + file.string(), [&] {
    const Table table = read_csv(file);
    FLATLAND_CHECK(table.cols() == 55, file.string(), ": has ", table.cols(),
                   " columns; the table of cover types has 54 and the type");
    const std::vector<std::string>& names = table.names();
    const Tensor all = table.numbers(std::span(names).first(k_covertype_attributes.size()));
    const Labels types = table.labels(names.back());
    FLATLAND_CHECK(types.names.size() == 7, file.string(), ": has ", types.names.size(),
                   " cover types; there should be 7");
    const Tensor drawn = weighted_items(class_weights(types.values), train, options.seed);
    const Tensor rest = Tensor::from(others(types.values, drawn, unseen, options.seed));
    const Tensor raw = gather_rows(all, drawn);
    const Tensor average = mean(raw, 0), deviation = sqrt(mean(square(raw - average), 0));
    const auto sample = [&](const Tensor& items) {
      return Dataset{{"main", (gather_rows(all, items) - average) / deviation},
                     {"labels", gather_rows(types.values, items)}};
    };
    return CovertypeSample{sample(drawn), sample(rest)};
  });
}

}  // namespace flatland::examples
