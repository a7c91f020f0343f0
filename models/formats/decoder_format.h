// Foreign checkpoints of decoders: what their files say of the shape of the model, and where each
// of our parameters is in them. Our parameter names are those of Hugging Face, so that only GGUF
// needs a table (decoder_names.h); both import and export use it.
#pragma once

#include <string>
#include <vector>

#include "core/weight_files/gguf.h"
#include "core/weight_files/stored_tensor.h"
#include "models/decoder_lm.h"

namespace gradwire {

// A decoder in a folder of Hugging Face (config.json and safetensors) or in a GGUF file, mapped:
// opening it reads no weight. Families: LLaMA, Mistral, Qwen2 and Qwen3. Errors: kData, naming the
// file and what does not fit; another architecture, scaled rotary positions and windows of
// attention shorter than the context are refused.
class ForeignDecoder {
 public:
  static ForeignDecoder open(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  const DecoderConfig& config() const noexcept { return config_; }
  std::int64_t context() const noexcept { return context_; }  // positions it was trained on

  // Throws unless the file has all parameters of the model, in their shapes, and no others.
  void check_tensors() const;
  // Gives every parameter of `model`, or of a part of it, its value. Errors: kData as above.
  void load(Context& cx, Module& model) const;
  // A parameter by its name and shape in this project: its elements in the order of rows of this
  // project, and how they are stored. Errors: kData as above.
  std::vector<float> values(const std::string& name, const Shape& shape) const;
  ElementType type_of(const std::string& name) const;
  // Of the shape and of all weights as they are stored: equal for copies that are cut into other
  // files. Reads everything.
  std::uint64_t digest() const;

 private:
  ForeignDecoder() = default;
  void read_gguf();
  void read_folder();
  void check_window(const std::string& file, std::int64_t window) const;
  // Where a parameter is, by its name in this project.
  const StoredTensor& stored(const std::string& name) const;
  const StoredTensor& stored(const std::string& name, const Shape& shape) const;

  std::string path_;
  DecoderConfig config_;
  std::int64_t context_ = 0;
  StoredTensors tensors_;
  bool is_gguf_ = false;
  bool interleaved_rope_ = false;  // rows of queries and keys are in GGUF's order for LLaMA
};

}  // namespace gradwire
