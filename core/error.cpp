#include "core/error.h"

namespace gradwire {

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage: return "usage";
    case ErrorKind::kShape: return "shape";
    case ErrorKind::kDevice: return "device";
    case ErrorKind::kConfig: return "recipe";
    case ErrorKind::kData: return "data";
    case ErrorKind::kCheckpoint: return "checkpoint";
    case ErrorKind::kComm: return "communication";
    case ErrorKind::kIo: return "file system";
    case ErrorKind::kNumeric: return "numeric";
    case ErrorKind::kMemory: return "memory";
    case ErrorKind::kInternal: return "internal";
  }
  return "unknown";
}

Error::Error(ErrorKind kind, const std::string& what, std::source_location at)
    : std::runtime_error(what), kind_(kind), at_(at) {}

void check(bool ok, ErrorKind kind, const char* what, std::source_location at) {
  if (!ok) throw Error(kind, what, at);
}

}  // namespace gradwire
