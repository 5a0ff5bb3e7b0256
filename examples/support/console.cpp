#include "examples/support/console.h"

#include <unistd.h>

#include <iostream>

namespace flatland::examples {

Listener show(Report& report) {
  std::vector<Listener> listeners{log_to(std::cout)};
  if (isatty(STDERR_FILENO)) listeners.push_back(progress_to(std::cerr));
  return report.listener(all_of(std::move(listeners)));
}

void print_stage(const std::string& name, double seconds) {
  std::cout << name << ": " << text("%.2f s", seconds) << std::endl;
}

void print_written(const std::filesystem::path& path) {
  std::cout << "wrote " << path.string() << std::endl;
}

}  // namespace flatland::examples
