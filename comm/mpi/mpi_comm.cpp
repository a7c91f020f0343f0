#include "comm/mpi/mpi_comm.h"

#include <exception>
#include <utility>

#include <fmt/format.h>

#include "comm/host_communicator.h"
#include "comm/mpi/mpi_engine.h"
#include "core/error.h"

namespace gradwire {
namespace {

class MpiComm final : public HostCommunicator {
 public:
  MpiComm(std::shared_ptr<MpiEngine> engine, std::shared_ptr<MpiChannel> channel)
      : engine_(std::move(engine)), channel_(std::move(channel)) {}
  ~MpiComm() override {
    try {
      engine_->release(channel_);
    } catch (const std::exception&) {
      // After a failure MPI keeps its communicators.
    }
  }
  MpiComm(const MpiComm&) = delete;
  MpiComm& operator=(const MpiComm&) = delete;

  int rank() const override { return channel_->rank(); }
  int size() const override { return channel_->size(); }
  std::string describe() const override {
    return fmt::format("mpi ({}), {} ranks", engine_->library(), size());
  }
  WireLedger& ledger() override { return engine_->ledger(); }

  void abort(const std::string& why) noexcept override {
    try {
      engine_->abort(why);
    } catch (const std::exception&) {
      // It has failed before: the others know the first reason.
    }
  }

 protected:
  void check_alive() override { engine_->check_alive(); }

  WorkPtr start(Call call, const CallOptions& options) override {
    return std::make_unique<OperationWork<MpiEngine>>(
        engine_, engine_->submit(*channel_, std::move(call), options));
  }

  std::unique_ptr<Communicator> make_part(const std::vector<int>& members, std::uint64_t) override {
    std::shared_ptr<MpiChannel> channel = engine_->split(*channel_, members);
    return channel ? std::make_unique<MpiComm>(engine_, std::move(channel)) : nullptr;
  }

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<MpiChannel> channel_;
};

}  // namespace

MpiWorld::MpiWorld(MpiOptions options)
    : engine_(std::make_shared<MpiEngine>(options)),
      comm_(std::make_unique<MpiComm>(engine_, engine_->world())),
      exceptions_(std::uncaught_exceptions()) {}

MpiWorld::~MpiWorld() {
  try {
    if (std::uncaught_exceptions() > exceptions_) {
      comm_->abort(fmt::format("rank {} left with an error", comm_->rank()));
    } else {
      comm_->barrier();
    }
  } catch (const std::exception&) {
    // A peer is lost: the engine knows, and leaves MPI as it is.
  }
}

}  // namespace gradwire
