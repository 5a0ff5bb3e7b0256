// Forest cover types from their published table.
#pragma once

#include "examples/support/options.h"

#include <flatland/dr/dataset.h>
#include <flatland/dr/report.h>

#include <array>

namespace flatland::examples {

// The ten numeric attributes, in the order of the table.
inline constexpr std::array k_covertype_attributes = {
    "elevation", "aspect",         "slope",          "to water, level", "to water, height",
    "to roads",  "hillshade 9 am", "hillshade noon", "hillshade 3 pm",  "to fire points"};

struct CovertypeSample {
  // "main": the ten attributes, of mean 0 and deviation 1 over the training items; "labels": 0 .. 6
  Dataset train, unseen;
};

// 7,000 items drawn with replacement, all types alike, and 5,000 others that were not drawn, as even as the
// rare types allow; 700 and 500 with --quick. Reading and drawing is a stage of the report. options.data
// is covertype.csv[.gz] or covtype.data[.gz], or a folder with one of them. Error: none there; says how to
// get it.
CovertypeSample read_covertype(Report& report, const Options& options);

}  // namespace flatland::examples
