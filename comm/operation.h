// A call on its way, for transports with a thread of their own: callers hand it in and hold a
// handle; the thread moves its bytes, piece by piece, and says when it is done.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "comm/call.h"

namespace gradwire {

// The transport's thread owns it until `done`, which the engine's lock guards.
struct Operation {
  Call call;
  Traffic traffic = Traffic::kControl;
  std::int64_t dense_bytes = CallOptions::kAsSent;
  std::int64_t sent_bytes = 0;
  std::int64_t sent_messages = 0;
  std::size_t pieces_left = 0;
  bool done = false;
  std::string error;

  // Lets go of the tensors first: once the caller knows, their allocator may be gone.
  void end() {
    call.keep.clear();
    call.group.clear();
    done = true;
  }
  void sends(std::size_t bytes) {
    sent_bytes += static_cast<std::int64_t>(bytes);
    ++sent_messages;
  }
  void count(WireLedger& ledger) const {
    ledger.add(traffic, sent_bytes, dense_bytes < 0 ? sent_bytes : dense_bytes, sent_messages);
  }
};
using OperationPtr = std::shared_ptr<Operation>;

inline OperationPtr make_operation(Call call, const CallOptions& options) {
  auto op = std::make_shared<Operation>();
  op->call = std::move(call);
  op->traffic = options.traffic;
  op->dense_bytes = options.dense_bytes;
  return op;
}

// The caller's handle. Engine: wait(Operation&), drop(Operation&).
template <class Engine>
class OperationWork final : public Work {
 public:
  OperationWork(std::shared_ptr<Engine> engine, OperationPtr op)
      : engine_(std::move(engine)), op_(std::move(op)) {}
  ~OperationWork() override {
    try {
      engine_->drop(*op_);
    } catch (const std::exception&) {
      // The engine has failed already: nothing is left to give up.
    }
  }
  OperationWork(const OperationWork&) = delete;
  OperationWork& operator=(const OperationWork&) = delete;
  void wait(Stream) override { engine_->wait(*op_); }

 private:
  std::shared_ptr<Engine> engine_;
  OperationPtr op_;
};

}  // namespace gradwire
