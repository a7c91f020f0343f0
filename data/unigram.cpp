#include "data/unigram.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

std::vector<std::int64_t> counts(const TokenFile& file) {
  constexpr std::int64_t kPart = 1 << 16;
  std::vector<std::int64_t> count(static_cast<std::size_t>(file.vocabulary()));
  std::vector<std::int32_t> part;
  for (std::int64_t begin = 0; begin < file.tokens(); begin += kPart) {
    part.resize(static_cast<std::size_t>(std::min(kPart, file.tokens() - begin)));
    file.read(begin, part);
    for (const std::int32_t id : part)
      ++count[static_cast<std::size_t>(id)];
  }
  return count;
}

}  // namespace

double unigram_perplexity(const TokenFile& train, const TokenFile& valid) {
  if (train.vocabulary() != valid.vocabulary() || valid.tokens() == 0) {
    throw Error(
        ErrorKind::kData,
        fmt::format("unigram perplexity: {} has a vocabulary of {}; {} one of {}, {} tokens",
                    train.path(), train.vocabulary(), valid.path(), valid.vocabulary(),
                    valid.tokens()));
  }
  const std::vector<std::int64_t> seen = counts(train);
  const std::vector<std::int64_t> asked = counts(valid);
  const double total = static_cast<double>(train.tokens() + train.vocabulary());
  double log_sum = 0;
  for (std::size_t v = 0; v < seen.size(); ++v) {
    log_sum += static_cast<double>(asked[v]) * std::log(static_cast<double>(seen[v] + 1) / total);
  }
  return std::exp(-log_sum / static_cast<double>(valid.tokens()));
}

}  // namespace gradwire
