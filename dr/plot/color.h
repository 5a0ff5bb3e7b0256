// Colours.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flatland::plot {

// sRGB, 0 .. 1.
struct Color {
  double r = 0, g = 0, b = 0, a = 1;

  Color with_alpha(double alpha) const { return {r, g, b, alpha}; }
};

constexpr Color rgb(std::uint32_t hex) {
  return {(hex >> 16 & 255) / 255.0, (hex >> 8 & 255) / 255.0, (hex & 255) / 255.0, 1};
}

inline constexpr Color k_ink = rgb(0x1f2328);    // titles
inline constexpr Color k_text = rgb(0x57606a);   // ticks, notes, names
inline constexpr Color k_frame = rgb(0xd0d7de);  // axes and frames
inline constexpr Color k_grid = rgb(0xeaeef2);
inline constexpr Color k_white = rgb(0xffffff);

// The colour of class i of n. The first 10 were searched to lie far apart for any colour vision: at least
// 0.09 in OKLab between any two, also as protanopes, deuteranopes and tritanopes see them (Machado et al.,
// 2009). Up to 20 also their lighter twins; beyond that hues.
Color class_color(std::size_t i, std::size_t n);

// 0 .. 1 from dark to light, even in lightness: viridis (S. van der Walt, N. Smith; CC0).
Color value_color(double t);

// -1 .. 1 from blue over white to red.
Color signed_color(double t);

}  // namespace flatland::plot
