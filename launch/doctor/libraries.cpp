#include "launch/start/libraries.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/cuda/device_cuda.h"
#include "launch/doctor/doctor.h"

namespace gradwire {
namespace {

Finding no_gpu() {
  const bool driver = std::filesystem::exists("/proc/driver/nvidia/version");
  return {Verdict::kOk, "GPU",
          driver ? "a driver, but no usable device: runs on the CPU"
                 : "no driver loaded: runs on the CPU",
          driver ? "look at nvidia-smi and CUDA_VISIBLE_DEVICES" : ""};
}

}  // namespace

Findings check_libraries() {
  Finding blas{Verdict::kOk, "BLAS", blas_version(), ""};
  if (!blas_knows_processor()) {
    blas.verdict = Verdict::kWarn;
    blas.fix = "unknown processor, slow f64 products: export OPENBLAS_CORETYPE=SkylakeX or Haswell";
  }
  Finding onednn{Verdict::kOk, "oneDNN", onednn_version(), ""};
  if (!has_bf16_instructions()) {
    onednn.found += ", no bf16";
    onednn.fix = "precision = \"f32\" is the faster one on this processor";
  }
  return {blas, onednn};
}

Findings check_gpus() {
  if constexpr (kCudaBuilt) {
    const int count = cuda::device_count();
    if (count == 0) return {no_gpu()};
    Findings out;
    for (int i = 0; i < count; ++i) {
      const Device device{DeviceType::kCuda, static_cast<std::int8_t>(i)};
      out.push_back({Verdict::kOk, fmt::format("GPU {}", i), cuda::describe(device), ""});
    }
    return out;
  }
  return {{Verdict::kOk, "GPU", "built without CUDA: runs on the CPU", ""}};
}

}  // namespace gradwire
