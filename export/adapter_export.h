// A trained adapter without its base, as Hugging Face's PEFT and llama.cpp read it.
#pragma once

#include <string>
#include <vector>

#include "export/gguf_writer.h"
#include "export/owned_tensors.h"
#include "export/tokenizer_export.h"
#include "models/adapters/adapter_set.h"
#include "models/decoder_lm.h"

namespace gradwire {

struct AdapterToExport {
  DecoderLm& base;
  AdapterSet& set;
  int index = 0;
  const AdapterConfig& config;
  std::string base_name{};  // for people: what it was trained on
};

// adapter_config.json. Errors: kConfig for a method that PEFT has no layout for: all but LoRA, DoRA
// and IA3.
SmallFiles peft_config(const AdapterToExport& adapter);
// Under PEFT's names: "base_model.model.<site>.lora_A.weight".
OwnedTensors peft_tensors(Context& cx, const AdapterToExport& adapter, ElementType type);

// A GGUF file of general.type "adapter", whose alpha stands for rsLoRA's scale too. Errors: kConfig
// for any method but LoRA.
GgufMetadata gguf_lora_keys(const AdapterToExport& adapter, const std::string& name);
// "<tensor of the base>.lora_a" and ".lora_b", the rows of the latter in the order of the base's.
OwnedTensors gguf_lora_tensors(Context& cx, const AdapterToExport& adapter, ElementType type);

}  // namespace gradwire
