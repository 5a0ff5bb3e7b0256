// What an example leaves behind.
#pragma once

#include "examples/support/options.h"

#include <flatland/dr/plot.h>
#include <flatland/dr/report.h>

#include <string>

namespace flatland::examples {

// An empty report of a run of this program.
Report report_of(const Program& program, const Options& options);

// Draws the figure as `picture` in the folder of --out, or says that this build cannot.
void write_picture(Report& report, const Options& options, const Figure& figure, const std::string& picture);

// report.json in the folder of --out.
void write_report(const Report& report, const Options& options);

// A picture, then the report.
void write_results(Report& report, const Options& options, const Figure& figure, const std::string& picture);

}  // namespace flatland::examples
