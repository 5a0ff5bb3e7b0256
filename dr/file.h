// Whole files in memory and back.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace flatland {

// The bytes of a file; a gzip file (told by its first bytes) is unpacked.
// Errors: no such file, a directory, unreadable; damaged gzip; gzip in a build without zlib.
std::string read_file(const std::filesystem::path& path);

// Replaces the file. Error: unwritable or full disk; the file may then be incomplete.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// False in a build without zlib.
bool gzip_available();

}  // namespace flatland
