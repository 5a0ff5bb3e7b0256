#include "examples/support/results.h"

#include "examples/support/console.h"

#include <iostream>

namespace flatland::examples {

Report report_of(const Program& program, const Options& options) {
  return Report(
      {.program = program.name, .device = options.device, .threads = options.threads, .seed = options.seed});
}

void write_picture(Report& report, const Options& options, const Figure& figure, const std::string& picture) {
  if (!plot_available()) {
    std::cout << "no picture: this build has no Cairo (FLATLAND_PLOT)\n";
    return;
  }
  const auto path = options.out / picture;
  timed_stage(report, "drawing", [&] {
    save(figure, path);
    return true;
  });
  report.file(path);
  print_written(path);
}

void write_report(const Report& report, const Options& options) {
  report.write(options.out / "report.json");
  print_written(options.out / "report.json");
}

void write_results(Report& report, const Options& options, const Figure& figure, const std::string& picture) {
  write_picture(report, options, figure, picture);
  write_report(report, options);
}

}  // namespace flatland::examples
