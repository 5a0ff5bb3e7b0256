#include <flatland/dr/plot/color.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace flatland::plot {
namespace {

constexpr Color k_classes[] = {rgb(0x2f7ed8), rgb(0xff9a1f), rgb(0x72c89d), rgb(0x742dbe), rgb(0xd3222a),
                               rgb(0x30447f), rgb(0xe29cfd), rgb(0x027366), rgb(0x792834), rgb(0x81878d)};

constexpr Color k_viridis[] = {rgb(0x440154), rgb(0x481467), rgb(0x482576), rgb(0x453781), rgb(0x404688),
                               rgb(0x39558c), rgb(0x33638d), rgb(0x2d718e), rgb(0x287d8e), rgb(0x238a8d),
                               rgb(0x1f968b), rgb(0x20a386), rgb(0x29af7f), rgb(0x3dbc74), rgb(0x56c667),
                               rgb(0x75d054), rgb(0x95d840), rgb(0xbade28), rgb(0xdde318), rgb(0xfde725)};

Color mix(const Color& a, const Color& b, double t) {
  return {a.r + t * (b.r - a.r), a.g + t * (b.g - a.g), a.b + t * (b.b - a.b), 1};
}

Color hue_color(double turns) {
  const auto channel = [&](double shift) {
    return 0.55 + 0.3 * std::cos(2 * 3.14159265358979323846 * (turns + shift));
  };
  return {channel(0), channel(-1.0 / 3), channel(1.0 / 3), 1};
}

}  // namespace

Color class_color(std::size_t i, std::size_t n) {
  const std::size_t base = std::size(k_classes);
  if (n <= base) return k_classes[i % base];
  if (n <= 2 * base) return i < base ? k_classes[i] : mix(k_classes[i % base], k_white, 0.5);
  constexpr double k_golden_section = 0.61803398874989485;  // neighbours in number are far in hue
  return hue_color(std::fmod(static_cast<double>(i) * k_golden_section, 1));
}

Color value_color(double t) {
  const double at = std::clamp(t, 0.0, 1.0) * static_cast<double>(std::size(k_viridis) - 1);
  const auto i = std::min(static_cast<std::size_t>(at), std::size(k_viridis) - 2);
  return mix(k_viridis[i], k_viridis[i + 1], at - static_cast<double>(i));
}

Color signed_color(double t) {
  constexpr Color k_below = rgb(0x2166ac), k_above = rgb(0xb2182b);
  return mix(k_white, t < 0 ? k_below : k_above, std::min(std::fabs(t), 1.0));
}

}  // namespace flatland::plot
