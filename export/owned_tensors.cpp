#include "export/owned_tensors.h"

#include <cmath>
#include <utility>

#include "core/weight_files/blocks.h"

namespace gradwire {

void OwnedTensors::add(std::string name, ElementType type, const Shape& shape,
                       std::vector<float> of_it) {
  values.push_back(std::move(of_it));
  tensors.push_back({std::move(name), type, shape, values.back()});
}

double OwnedTensors::rounding() const {
  double difference = 0.0, all = 0.0;
  std::vector<float> back;
  for (const TensorToWrite& t : tensors) {
    std::size_t at = 0;
    encode_in_parts(t, [&](std::size_t, std::span<const std::byte> part) {
      const ElementLayout layout = layout_of(t.type);
      back.resize(part.size() / static_cast<std::size_t>(layout.block_bytes) *
                  static_cast<std::size_t>(layout.block_elements));
      decode(t.type, part, back);
      for (std::size_t i = 0; i < back.size(); ++i, ++at) {
        const double value = t.values[at], moved = static_cast<double>(back[i]) - value;
        difference += moved * moved;
        all += value * value;
      }
    });
  }
  return all == 0.0 ? 0.0 : std::sqrt(difference / all);
}

}  // namespace gradwire
