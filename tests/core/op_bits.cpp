// Prints a checksum of what every op of the list gives, forward and backward, in f32 and bf16. Run
// once for each instruction set, since kernels are chosen once per process (isa_bits.cmake).
#include <fmt/format.h>

#include "core/hash.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

void print_bits(Context& cx, const OpCase& c, DType type) {
  const OpResult result = run_case(cx, c, make_inputs(cx, c, type), true);
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(result.output)));
  for (const std::vector<double>& gradient : result.gradients)
    hasher.add(std::as_bytes(std::span(gradient)));
  fmt::print("{} {} {}\n", c.name, name_of(type), to_hex(hasher.digest()));
}

}  // namespace
}  // namespace gradwire::test

int main() {
  using namespace gradwire;
  Runtime runtime;
  for (const test::OpCase& c : test::op_cases()) {
    for (const DType type : {DType::kF32, DType::kBf16})
      test::print_bits(runtime.context(), c, type);
  }
  return 0;
}
