// A decoder as other programs read it: what config.json and the keys of a GGUF file say of its
// shape, and its parameters under their names there.
#pragma once

#include <string>

#include "export/gguf_writer.h"
#include "export/owned_tensors.h"
#include "export/tokenizer_export.h"
#include "models/decoder_lm.h"

namespace gradwire {

// config.json and generation_config.json.
SmallFiles hugging_face_configs(const DecoderConfig& config, const SpecialTokens& special,
                                std::int64_t context, ElementType type);
OwnedTensors hugging_face_tensors(Context& cx, DecoderLm& model, ElementType type);

// general.* and the keys of the architecture.
GgufMetadata gguf_decoder_keys(const DecoderConfig& config, const std::string& name,
                               std::int64_t context, ElementType type);
// Tensors of one dimension are F32, whatever the type; of Q4_0 the embedding and the head are Q8_0,
// since logits suffer most there.
OwnedTensors gguf_decoder_tensors(Context& cx, DecoderLm& model, ElementType type);

}  // namespace gradwire
