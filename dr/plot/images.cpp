#include <flatland/dr/plot/panel.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cmath>

namespace flatland::plot {
namespace {

constexpr std::int64_t k_max_pixels = 100'000'000;

struct Grid {
  std::int64_t rows, cols, gap;  // gap in pixels
};

Grid grid_of(const Images& panel) {
  const std::int64_t n = panel.pixels.size(0);
  Grid grid{};
  grid.cols = panel.columns > 0 ? panel.columns
                                : static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(n))));
  grid.cols = std::min(grid.cols, n);
  grid.rows = (n + grid.cols - 1) / grid.cols;
  grid.gap = std::max<std::int64_t>(1, panel.width / 14);
  return grid;
}

}  // namespace

void check(const Images& panel, const std::string& who) {
  FLATLAND_CHECK(panel.pixels.defined() && panel.pixels.rank() == 2 && panel.pixels.numel() > 0, who,
                 ": pixels must be (N, height x width) and not empty");
  FLATLAND_CHECK(panel.height > 0 && panel.width > 0 && panel.height * panel.width == panel.pixels.size(1),
                 who, ": ", panel.pixels.size(1), " pixels are not ", panel.height, " x ", panel.width);
  FLATLAND_CHECK(panel.columns >= 0, who, ": columns is ", panel.columns);
  const Grid grid = grid_of(panel);
  FLATLAND_CHECK(grid.rows * grid.cols * (panel.height + grid.gap) * (panel.width + grid.gap) <= k_max_pixels,
                 who, ": too many pixels (", panel.pixels.size(0), " images); draw fewer");
}

Margins margins(const Images&, Canvas&) {
  return {};
}

void draw(const Images& panel, Canvas& canvas, const Box& box) {
  const Grid grid = grid_of(panel);
  const std::int64_t step_y = panel.height + grid.gap, step_x = panel.width + grid.gap;
  const std::int64_t height = grid.rows * step_y - grid.gap, width = grid.cols * step_x - grid.gap;
  std::vector<Color> colors(static_cast<std::size_t>(height * width), k_white);
  const std::vector<double> pixels = panel.pixels.to_vector<double>();
  for (std::int64_t i = 0; i < panel.pixels.size(0); ++i) {
    const std::int64_t top = i / grid.cols * step_y, left = i % grid.cols * step_x;
    for (std::int64_t p = 0; p < panel.pixels.size(1); ++p) {
      const double value = pixels[static_cast<std::size_t>(i * panel.pixels.size(1) + p)];
      const double ink = value >= 0 ? std::min(value, 1.0) : 0;  // NaN is white
      const std::int64_t at = (top + p / panel.width) * width + left + p % panel.width;
      colors[static_cast<std::size_t>(at)] = {1 - ink, 1 - ink, 1 - ink, 1};
    }
  }
  const double scale =
      std::min(box.width / static_cast<double>(width), box.height / static_cast<double>(height));
  canvas.pixels(colors, static_cast<int>(width), static_cast<int>(height),
                {box.x, box.y, scale * static_cast<double>(width), scale * static_cast<double>(height)});
}

}  // namespace flatland::plot
