// A folder of its own for one test, removed at the end, and the damage that tests do to files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "core/error.h"

namespace gradwire::testing_data {

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gw_data_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }
  int entries() const {
    const std::filesystem::directory_iterator all(path_);
    return static_cast<int>(std::distance(begin(all), end(all)));
  }

 private:
  std::filesystem::path path_;
};

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
