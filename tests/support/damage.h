// Damage that is drawn, not thought of, and the bounds within which a reader of damaged bytes must
// stay: it reads them or refuses them with an Error, soon, and takes no more than a stated memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire::test {

// One to three changes: a bit, a byte or a word of eight, a piece cut off, taken out, doubled or
// put in.
inline std::string damaged(std::string bytes, std::mt19937_64& draw) {
  static const std::string kPieces[] = {"9",    "-", "1e999", "\"", "[",    "{",   "}",
                                        "\x1b", ".", "\n",    "\\", "\xff", "null"};
  constexpr std::uint64_t kWords[] = {
      0, 1, 0x7fffffff, 0xffffffff, ~std::uint64_t{0} >> 1, ~std::uint64_t{0}};
  for (std::uint64_t changes = 1 + draw() % 3; changes > 0; --changes) {
    if (bytes.empty()) return bytes;
    const std::size_t at = draw() % bytes.size();
    const std::size_t length = 1 + draw() % 16;
    switch (draw() % 8) {
      case 0: bytes.resize(at); break;
      case 1: bytes.append(length * 8, static_cast<char>(draw())); break;
      case 2: bytes.erase(at, length); break;
      case 3: bytes.insert(at, bytes.substr(at, length)); break;
      case 4: bytes.insert(at, kPieces[draw() % std::size(kPieces)]); break;
      case 5: bytes[at] = static_cast<char>(draw()); break;
      case 6: {
        const std::uint64_t word = kWords[draw() % std::size(kWords)];
        std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
        break;
      }
      default: bytes[at] = static_cast<char>(bytes[at] ^ (1 << draw() % 8)); break;
    }
  }
  return bytes;
}

// While it lives, the process gets no more than so much memory on top of what it has: beyond that
// std::bad_alloc is thrown. (The address sanitizer takes address space for itself: without effect.)
class MemoryBound {
 public:
  explicit MemoryBound(std::size_t bytes) {
    ::getrlimit(RLIMIT_AS, &before_);
#ifndef __SANITIZE_ADDRESS__
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit bound = before_;
    bound.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + bytes;
    ::setrlimit(RLIMIT_AS, &bound);
#else
    (void)bytes;
#endif
  }
  ~MemoryBound() {
    ::setrlimit(RLIMIT_AS, &before_);
  }
  MemoryBound(const MemoryBound&) = delete;
  MemoryBound& operator=(const MemoryBound&) = delete;

 private:
  rlimit before_{};
};

struct Outcomes {
  int read = 0, refused = 0;
};

// read(damaged bytes) so many times. Whatever it throws but Error fails the test.
template <class F>
Outcomes read_damaged(const std::string& whole, int times, std::uint64_t seed, const F& read) {
  constexpr std::size_t kMostMemory = std::size_t{512} << 20;
  std::mt19937_64 draw(seed);
  Outcomes outcomes;
  const MemoryBound bound(kMostMemory);
  for (int i = 0; i < times; ++i) {
    const std::string bytes = damaged(whole, draw);
    try {
      read(bytes);
      ++outcomes.read;
    } catch (const Error&) {
      ++outcomes.refused;
    } catch (const std::exception& e) {
      ADD_FAILURE() << "change " << i << ": " << e.what();
    }
  }
  return outcomes;
}

}  // namespace gradwire::test
