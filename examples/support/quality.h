// How good an embedding is, as a table on the screen and as metrics in the report.
#pragma once

#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/report.h>

#include <cstdint>
#include <string>
#include <vector>

namespace flatland::examples {

struct LabelledPoints {
  Tensor x;       // (N, D)
  Tensor y;       // (N, d) its embedding
  Tensor labels;  // (N)
};

// A data set's "main" and "labels" beside their places on the routine's map.
LabelledPoints embedded(const ParametricDR& routine, const Dataset& data);

struct Quality {
  std::string group;
  std::int64_t items = 0;
  double trustworthiness = 0;  // 15 neighbours
  double continuity = 0;       // 15 neighbours
  double knn_accuracy = 0;     // 10 neighbours: train leaves the point out, others are sought in train
  double silhouette = 0;
};

Quality train_quality(const LabelledPoints& train);
Quality unseen_quality(const LabelledPoints& train, const LabelledPoints& unseen,
                       std::string group = "unseen");

// Both, as a stage of the report, shown.
std::vector<Quality> measured(Report& report, const LabelledPoints& train, const LabelledPoints& unseen);

// Puts each into the report under its group and prints them as one table.
void show_quality(Report& report, const std::vector<Quality>& qualities);

// "trustworthiness 0.95, 10-NN accuracy 0.92", for the line under a panel's title.
std::string summary(const Quality& quality);

}  // namespace flatland::examples
