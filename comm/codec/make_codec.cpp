#include <cmath>
#include <numbers>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/codec/block_codec.h"
#include "comm/codec/random_k.h"
#include "comm/codec/top_k.h"
#include "core/codec_names.h"
#include "core/error.h"

namespace gradwire {
namespace {

// 1 - 1 / (2 levels)^2 E[max^2] / 3 with the maximum of b normal values near sqrt(2 ln 2b).
double max_abs_delta(std::int64_t block, int levels) {
  return 1.0 - std::log(2.0 * static_cast<double>(block)) / (6.0 * levels * levels);
}

// omega <= min(d / s^2, sqrt(d) / s); not a contraction from omega = 1 on (Alistarh et al.,
// "QSGD", NeurIPS 2017, lemma 3.1).
double qsgd_delta(std::int64_t block, int levels) {
  const double d = static_cast<double>(block), s = levels;
  return std::max(0.0, 1.0 - std::min(d / (s * s), std::sqrt(d) / s));
}

BlockFormat int_format(const char* name, std::int64_t block, int levels) {
  const int bits = levels == 127 ? 8 : levels == 7 ? 4 : 2;
  return {.name = name,
          .block = block,
          .scaled = true,
          .code_bits = bits,
          .levels = levels,
          .delta = max_abs_delta(block, levels)};
}

BlockFormat qsgd_format(std::int64_t block, int levels) {
  if (levels != 1 && levels != 7 && levels != 127) {
    throw Error(ErrorKind::kConfig,
                fmt::format("qsgd: levels must be 1, 7 or 127, got {}", levels));
  }
  BlockFormat format = int_format("qsgd", block, levels);
  format.delta = qsgd_delta(block, levels);
  return format;
}

}  // namespace

std::unique_ptr<Codec> make_codec(const CodecConfig& config) {
  const auto block = [&](std::int64_t own) { return config.block == 0 ? own : config.block; };
  const auto make = [](const BlockFormat& format, const BlockKernels& kernels) {
    return std::make_unique<BlockCodec>(format, kernels);
  };
  const std::string& name = config.name;
  if (name == "sign") {
    return make({.name = "sign",
                 .block = block(4096),
                 .scaled = true,
                 .code_bits = 1,
                 .norm1 = true,
                 .zero = false,
                 .fast = true,
                 .delta = 2.0 / std::numbers::pi},
                sign_kernels());
  }
  if (name == "int8") {
    BlockFormat format = int_format("int8", block(1024), 127);
    format.fast = true;
    return make(format, int8_kernels());
  }
  if (name == "int4") return make(int_format("int4", block(256), 7), int4_kernels());
  if (name == "qsgd") return make(qsgd_format(block(512), config.levels), qsgd_kernels());
  if (name == "natural") {
    return make({.name = "natural", .signed_ = true, .delta = 7.0 / 8.0}, natural_kernels());
  }
  if (name == "bf16") {
    return make({.name = "bf16", .code_bits = 16, .delta = 1.0 - 0x1p-16}, bf16_kernels());
  }
  if (name == "identity") return make({.name = "identity", .code_bits = 32}, identity_kernels());
  if (name == "topk") return std::make_unique<TopKCodec>(config.ratio);
  if (name == "randk") return std::make_unique<RandomKCodec>(config.ratio);
  throw Error(ErrorKind::kConfig,
              fmt::format("unknown codec '{}': known are {}", name, fmt::join(kCodecNames, ", ")));
}

}  // namespace gradwire
