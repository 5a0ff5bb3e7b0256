// Principal axes for knn_approximate.cpp. Private.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// Turns the rows of z (N, D) about the origin, which changes no distance, so that leading columns hold most
// of their squares: along the eigenvectors of a sample's second moments, largest first. Returns how many
// leading columns, a multiple of k_graph_pad, hold 70 % of them; z.ld where that is all, and where D is too
// small or too large (above 1,024) for turning to pay. Columns from D to ld are zeros and stay so.
std::int64_t turn_to_axes(const Exec& exec, MatView<float> z);

}  // namespace flatland::kernels
