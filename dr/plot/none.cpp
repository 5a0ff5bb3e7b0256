// Without Cairo.
#include <flatland/dr/plot.h>
#include <flatland/kernels/check.h>

namespace flatland {

bool plot_available() {
  return false;
}

void save(const Figure&, const std::filesystem::path& path) {
  detail::fail(path.string(),
               ": this build draws no pictures; configure with -DFLATLAND_PLOT=ON (needs Cairo)");
}

}  // namespace flatland
