#include "comm/tcp/tcp_comm.h"

#include <exception>
#include <utility>

#include <fmt/format.h>

#include "comm/host_communicator.h"
#include "comm/tcp/engine.h"

namespace gradwire {
namespace {

class TcpComm final : public HostCommunicator {
 public:
  TcpComm(std::shared_ptr<TcpEngine> engine, std::shared_ptr<TcpChannel> channel)
      : engine_(std::move(engine)), channel_(std::move(channel)) {}
  ~TcpComm() override { engine_->release(channel_); }
  TcpComm(const TcpComm&) = delete;
  TcpComm& operator=(const TcpComm&) = delete;

  int rank() const override { return channel_->rank(); }
  int size() const override { return channel_->size(); }
  std::string describe() const override { return fmt::format("tcp, {} ranks", size()); }
  WireLedger& ledger() override { return engine_->ledger(); }
  void abort(const std::string& why) noexcept override { engine_->abort(why); }

 protected:
  void check_alive() override { engine_->check_alive(); }

  WorkPtr start(Call call, const CallOptions& options) override {
    return std::make_unique<OperationWork<TcpEngine>>(
        engine_, engine_->submit(channel_, std::move(call), options));
  }

  std::unique_ptr<Communicator> make_part(const std::vector<int>& members,
                                          std::uint64_t split) override {
    std::shared_ptr<TcpChannel> channel = engine_->make_part(*channel_, members, split);
    return channel ? std::make_unique<TcpComm>(engine_, std::move(channel)) : nullptr;
  }

 private:
  std::shared_ptr<TcpEngine> engine_;
  std::shared_ptr<TcpChannel> channel_;
};

}  // namespace

TcpWorld::TcpWorld(const TcpOptions& options)
    : engine_(std::make_shared<TcpEngine>(options)),
      comm_(std::make_unique<TcpComm>(engine_, engine_->world())),
      exceptions_(std::uncaught_exceptions()) {}

TcpWorld::~TcpWorld() {
  try {
    if (std::uncaught_exceptions() > exceptions_) {
      comm_->abort(fmt::format("rank {} left with an error", comm_->rank()));
    } else {
      comm_->barrier();
    }
  } catch (const std::exception&) {
    // A peer is lost: the engine knows, and has told the others.
  }
}

}  // namespace gradwire
