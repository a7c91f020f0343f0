#include "core/ops/operands.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

std::string text_of(Device d) {
  return d.type == DeviceType::kCpu ? "cpu" : fmt::format("cuda:{}", d.index);
}

}  // namespace

void refuse_devices(const char* op, Device runs_on, std::initializer_list<Device> of) {
  int operand = 0;
  for (const Device d : of) {
    ++operand;
    if (d == runs_on) continue;
    throw Error(ErrorKind::kDevice, fmt::format("{}: runs on {}, but operand {} is on {}", op,
                                                text_of(runs_on), operand, text_of(d)));
  }
  throw Error(ErrorKind::kInternal, fmt::format("{}: refused operands that fit", op));
}

}  // namespace gradwire
