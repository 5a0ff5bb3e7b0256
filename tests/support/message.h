// What a call's Error says.
#pragma once

#include <flatland/kernels/check.h>

#include <string>

namespace flatland::test {

// The message of the Error that `call` throws; empty when it throws none.
template <class F>
std::string message(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace flatland::test
