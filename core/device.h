// Devices, streams and element types: the small values that are passed everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gradwire {

#if defined(GW_CUDA)
inline constexpr bool kCudaBuilt = true;
#else
inline constexpr bool kCudaBuilt = false;
#endif

enum class DeviceType : std::uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  std::int8_t index = 0;
  friend bool operator==(Device, Device) = default;
};

// An order of execution on one device. `handle` is a cudaStream_t; on the CPU it is null and work
// is done when the call returns.
struct Stream {
  Device device;
  void* handle = nullptr;
  friend bool operator==(const Stream&, const Stream&) = default;
};

// bf16 is a storage type: every kernel converts to float, computes, and converts back.
enum class DType : std::uint8_t { kF32, kF64, kBf16, kI32, kI64, kU8 };

constexpr std::size_t size_of(DType t) {
  switch (t) {
    case DType::kF64:
    case DType::kI64: return 8;
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kBf16: return 2;
    case DType::kU8: return 1;
  }
  return 0;
}

constexpr const char* name_of(DType t) {
  switch (t) {
    case DType::kF32: return "f32";
    case DType::kF64: return "f64";
    case DType::kBf16: return "bf16";
    case DType::kI32: return "i32";
    case DType::kI64: return "i64";
    case DType::kU8: return "u8";
  }
  return "?";
}

constexpr bool is_float(DType t) {
  return t == DType::kF32 || t == DType::kF64 || t == DType::kBf16;
}

}  // namespace gradwire
