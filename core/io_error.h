// What kind of failure an error number of the file system is.
#pragma once

#include <cerrno>

#include "core/error.h"

namespace gradwire {

// kConfig if this user may not do it there, on any day: only another path or other permissions
// help. Else kIo: full, broken, or away for now.
inline ErrorKind kind_of_io_error(int number) {
  const bool refused = number == EACCES || number == EPERM || number == EROFS;
  return refused ? ErrorKind::kConfig : ErrorKind::kIo;
}

}  // namespace gradwire
