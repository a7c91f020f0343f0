#include "core/rng.h"

namespace gradwire {
namespace {

// splitmix64's finaliser (Steele et al., OOPSLA 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t salt) {
  return mix(mix(seed) ^ mix(~salt));
}

std::uint64_t derive_seed(std::uint64_t seed, std::string_view salt) {
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : salt)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return derive_seed(seed, hash);
}

}  // namespace gradwire
