#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/linear/bf16_dot.h"
#include "core/ops/linear/bf16_gemm.h"
#include "core/ops/linear/bf16_unit.h"

namespace gradwire::cpu {
namespace {

bool can_take(Bf16Path path) {
  switch (path) {
    case Bf16Path::kOneDnn: return onednn::has_bf16_kernels();
    case Bf16Path::kAvx512: return bf16_dot_kernels() != nullptr;
    default: return true;
  }
}

Bf16Path path_unasked() {
  const std::vector<Bf16Path> paths = bf16_paths();
  if (paths.size() == 1) return paths.front();
  const bool has_onednn = std::ranges::find(paths, Bf16Path::kOneDnn) != paths.end();
  return has_onednn && onednn::has_matrix_unit() ? Bf16Path::kOneDnn : Bf16Path::kWiden;
}

struct Choice {
  Bf16Path path = path_unasked();
};

}  // namespace

const char* name_of(Bf16Path path) {
  return path == Bf16Path::kOneDnn ? "onednn" : path == Bf16Path::kAvx512 ? "avx512" : "widen";
}

std::vector<Bf16Path> bf16_paths() {
  const char* set = std::getenv("GRADWIRE_BF16");
  const std::string_view asked = set == nullptr ? "" : set;
  std::vector<Bf16Path> paths{Bf16Path::kWiden};
  bool is_known = asked.empty();
  for (const Bf16Path path : kAllBf16Paths) {
    is_known |= asked == name_of(path);
    if (path == Bf16Path::kWiden || !can_take(path)) continue;
    if (asked == name_of(path)) return {path};
    if (asked.empty()) paths.push_back(path);
  }
  if (!is_known) {
    throw Error(
        ErrorKind::kConfig,
        fmt::format("GRADWIRE_BF16 is \"{}\", which is none of widen, onednn, avx512", asked));
  }
  return paths;
}

void use_bf16_path(Context& cx, Bf16Path path) {
  cx.engine->slot<Choice>().path = path;
}

Bf16Path bf16_path(const Context& cx) {
  return cx.engine->slot<Choice>().path;
}

bool use_bf16_unit(const Context& cx) {
  return cx.stream.device.type == DeviceType::kCpu && bf16_path(cx) != Bf16Path::kWiden;
}

std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n) {
  const bool own = bf16_path(cx) == Bf16Path::kAvx512;
  return own ? avx512::pack(cx, b, k, n) : onednn::pack(cx, b, k, n);
}

void gemm_bf16(Context& cx, const Gemm& g) {
  const bool own = bf16_path(cx) == Bf16Path::kAvx512;
  own ? avx512::gemm_bf16(cx, g) : onednn::gemm_bf16(cx, g);
}

}  // namespace gradwire::cpu
