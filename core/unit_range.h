#pragma once

namespace gradwire {

// Consecutive layers of a model, counted as a pipeline cuts it into stages: the embedding, every
// block and the head are one each.
struct UnitRange {
  int begin = 0, end = 0;  // [begin, end)
  bool contains(int unit) const { return begin <= unit && unit < end; }
  friend bool operator==(const UnitRange&, const UnitRange&) = default;
};

}  // namespace gradwire
