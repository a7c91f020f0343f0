// The one exception type of the program, and the check that throws it.
// A message says what was asked, what was found and where: "matmul: inner dimensions differ:
// [4, 8] x [16, 2]". The kind decides the exit code (launch/start/exit_code.h), nothing else.
#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

namespace gradwire {

enum class ErrorKind {
  kUsage,       // a call or command line that makes no sense
  kShape,       // tensors whose shapes or types do not fit an operation
  kDevice,      // no such device, or the device refused
  kConfig,      // a recipe that cannot be run
  kData,        // a corpus, token file or vocabulary that cannot be used
  kCheckpoint,  // no checkpoint that can be loaded
  kComm,        // a peer is lost or a wait ran out
  kIo,          // the file system refused
  kNumeric,     // loss or gradients stopped being finite, or replicas differ
  kMemory,      // out of memory
  kInternal,    // a bug
};

const char* name_of(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what,
        std::source_location at = std::source_location::current());
  ErrorKind kind() const noexcept { return kind_; }
  const std::source_location& where() const noexcept { return at_; }

 private:
  ErrorKind kind_;
  std::source_location at_;
};

// Throws Error(kind, what) unless ok. For messages with numbers in them, write
// `if (bad) throw Error(kind, fmt::format(...))`: formatting then costs only the failing path.
void check(bool ok, ErrorKind kind, const char* what,
           std::source_location at = std::source_location::current());

}  // namespace gradwire
