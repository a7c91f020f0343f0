// Which adapters a model gets, as plain values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

enum class AdapterMethod : std::uint8_t {
  kLora,
  kDora,
  kIa3,
  kBitFit,
  kHoulsby,
  kPfeiffer,
  kParallel,
  kVlPetLarge,
  kVlPetMiddleX,
  kVlPetMiddleY,
  kVlPetSmall,
};

// As recipes name them: "lora", "vlpet_middle_x".
std::span<const std::string_view> adapter_method_names();
// Errors: kConfig for a name that is none of those.
AdapterMethod adapter_method_named(std::string_view name);

enum class AdapterInit : std::uint8_t {
  kDefault,  // as the method's authors or Hugging Face's PEFT have it
  kNormal,   // LoRA: A normal with deviation 1 / rank; bottlenecks: both matrices normal with 0.001
  kZero,     // bottlenecks: the matrix that widens again is 0, so that nothing changes at first
};

struct AdapterConfig {
  AdapterMethod method = AdapterMethod::kLora;
  // Patterns (core/glob.h) over the names of sites; empty: those of default_targets().
  std::vector<std::string> targets{};
  std::int64_t rank = 8;  // of LoRA; the inner width of a bottleneck
  double alpha = 16.0;    // LoRA's update is multiplied by alpha / rank
  bool rslora = false;    // by alpha / sqrt(rank) instead
  double dropout = 0.0;   // of what LoRA's update reads
  double scale = 0.0;     // of a bottleneck's update; 0: the method's own
  AdapterInit init = AdapterInit::kDefault;

  double lora_scale() const;
};

// The sites that the method is attached to unless told otherwise.
std::vector<std::string> default_targets(AdapterMethod method);

}  // namespace gradwire
