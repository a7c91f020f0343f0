#include <fmt/format.h>

#include "core/printable.h"
#include "export/import_decoder.h"
#include "launch/commands/commands.h"

namespace gradwire {
namespace {

std::optional<ElementType> type_named(const std::string& name) {
  if (name == "f32") return ElementType::kF32;
  if (name == "f16") return ElementType::kF16;
  if (name == "bf16") return ElementType::kBf16;
  return std::nullopt;
}

}  // namespace

ExitCode run_import(const ImportArgs& args) {
  fmt::print("{}\n", printable(import_decoder(args.source, args.out, type_named(args.type))));
  return ExitCode::kDone;
}

}  // namespace gradwire
