// Bringing a decoder of another program into a Hugging Face folder, from whatever it was in.
#pragma once

#include <optional>
#include <string>

#include "core/weight_files/element_type.h"

namespace gradwire {

// Writes to the folder `out`, which must not exist, the decoder at `source` (ForeignDecoder): its
// config.json, model.safetensors, and the vocabulary under the name it is found by
// (add_tokenizer()). Weights are F32, F16 or BF16 as they were, or all of one `type`; quantised
// blocks become F32, which holds them exactly. The folder appears whole or not at all, and only
// after it has been read back and compared. Gives a line about it. Errors: kConfig if `out` exists;
// kData for a model or vocabulary that cannot be read or do not fit each other, or a weight that
// the type cannot hold; kIo. Needs memory for all weights in F32.
std::string import_decoder(const std::string& source, const std::string& out,
                           std::optional<ElementType> type);

}  // namespace gradwire
