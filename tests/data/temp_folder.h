// The damage that tests do to files, in a folder of their own.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/temp_folder.h"

namespace gradwire::testing_data {

using test::TempFolder;

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void flip_bit(const std::string& path, std::size_t byte) {
  std::string bytes = slurp(path);
  bytes.at(byte) = static_cast<char>(bytes.at(byte) ^ 1);
  std::ofstream(path, std::ios::binary) << bytes;
}

// f throws Error of this kind, and its message names each of these.
inline void expect_error(ErrorKind kind, const std::vector<std::string>& named,
                         const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    for (const std::string& text : named)
      EXPECT_THAT(e.what(), ::testing::HasSubstr(text));
    return;
  }
  ADD_FAILURE() << "no error was thrown";
}

}  // namespace gradwire::testing_data
