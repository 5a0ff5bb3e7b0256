// What the examples show a person while they work.
#pragma once

#include <flatland/dr/report.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace flatland::examples {

// The routine's log on standard output, a progress line on standard error where that is a terminal, and both
// collected into the report.
Listener show(Report& report);

// Runs `work`, prints its name and seconds, and notes them in the report.
template <class Work>
auto timed_stage(Report& report, const std::string& name, Work work);

void print_stage(const std::string& name, double seconds);

// Numbers in a line, as by printf.
template <class... Values>
std::string text(const char* format, Values... values) {
  char line[160];
  std::snprintf(line, sizeof line, format, values...);
  return line;
}

// "wrote out/quickstart/embedding.png"
void print_written(const std::filesystem::path& path);

template <class Work>
auto timed_stage(Report& report, const std::string& name, Work work) {
  const auto start = std::chrono::steady_clock::now();
  auto result = work();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report.stage(name, seconds);
  print_stage(name, seconds);
  return result;
}

}  // namespace flatland::examples
