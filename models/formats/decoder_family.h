// The families of decoders that foreign files hold, for reading and for writing them alike.
#pragma once

#include <span>
#include <string_view>

#include "models/decoder_lm.h"

namespace gradwire {

struct DecoderFamily {
  std::string_view name;      // model_type of config.json, and general.architecture of GGUF
  std::string_view hf_class;  // in "architectures" of config.json
  bool qkv_bias, qk_norm;
  bool interleaved_in_gguf;  // queries and keys are turned as decoder_names.h says
};

// The first of those that a model fits is what it is written as.
std::span<const DecoderFamily> decoder_families();

// Errors: kConfig for a model that is of no family.
const DecoderFamily& family_of(const DecoderConfig& config);

}  // namespace gradwire
