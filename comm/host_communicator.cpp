#include "comm/host_communicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "comm/reduce.h"
#include "core/error.h"

namespace gradwire {
namespace {

class DoneWork final : public Work {
 public:
  void wait(Stream) override {}
};

// Says when it is waited for, and when no more.
class ObservedWork final : public Work {
 public:
  ObservedWork(WorkPtr work, CallObserver& observer, const CallNote& note)
      : work_(std::move(work)), observer_(observer), note_(note) {}
  void wait(Stream on) override {
    observer_.waits(note_);
    work_->wait(on);
    observer_.goes_on();
  }

 private:
  WorkPtr work_;
  CallObserver& observer_;
  CallNote note_;
};

CallNote note_of(const Call& call) {
  return {call.kind, call.sequence, call.group.empty() ? CallNote::kAll : call.group.front().peer};
}

std::byte* host_bytes(CallKind kind, const Tensor& t) {
  if (!t) throw Error(ErrorKind::kShape, fmt::format("{}: empty tensor", name_of(kind)));
  if (t.device().type != DeviceType::kCpu) {
    throw Error(ErrorKind::kDevice, fmt::format("{}: a tensor in device memory", name_of(kind)));
  }
  return static_cast<std::byte*>(t.raw());
}

Call make_call(CallKind kind, Tensor in, Tensor out) {
  Call call;
  call.kind = kind;
  call.in = host_bytes(kind, in);
  call.out = host_bytes(kind, out);
  call.count = in.numel();
  call.dtype = in.dtype();
  if (out.dtype() != in.dtype()) {
    throw Error(ErrorKind::kShape, fmt::format("{}: from {} to {}", name_of(kind),
                                               name_of(in.dtype()), name_of(out.dtype())));
  }
  call.keep.push_back(std::move(in));
  call.keep.push_back(std::move(out));
  return call;
}

void check_sizes(CallKind kind, const Tensor& in, const Tensor& out, std::int64_t in_should,
                 std::int64_t out_should) {
  if (in.numel() == in_should && out.numel() == out_should) return;
  throw Error(ErrorKind::kShape,
              fmt::format("{}: from {} to {}: expected {} elements to become {}", name_of(kind),
                          to_string(in.shape()), to_string(out.shape()), in_should, out_should));
}

void check_reducible(CallKind kind, DType dtype, ReduceOp op) {
  if (reducible(dtype, op)) return;
  throw Error(ErrorKind::kShape,
              fmt::format("{}: no {} of {}", name_of(kind), name_of(op), name_of(dtype)));
}

void check_rank(const char* what, int rank, int size) {
  if (rank >= 0 && rank < size) return;
  throw Error(ErrorKind::kUsage, fmt::format("{} {} of {} ranks", what, rank, size));
}

}  // namespace

WorkPtr HostCommunicator::submit(Call call, const CallOptions& options) {
  check_alive();
  call.sequence = call.kind == CallKind::kExchange ? exchanges_++ : collectives_++;
  if (size() == 1 && call.kind != CallKind::kExchange) {
    if (call.out != call.in && call.count > 0) {
      std::memcpy(call.out, call.in, static_cast<std::size_t>(call.count) * call.element_bytes());
    }
    ledger().add(options.traffic, 0, options.dense_bytes < 0 ? 0 : options.dense_bytes, 0);
    return std::make_unique<DoneWork>();
  }
  if (observer_ == nullptr) return start(std::move(call), options);
  const CallNote note = note_of(call);
  observer_->begins(note);
  return std::make_unique<ObservedWork>(start(std::move(call), options), *observer_, note);
}

DeviceStage HostCommunicator::stage(const CallOptions& options) {
  if (!staging_) staging_ = make_caching_allocator(make_pinned_allocator());
  return {staging_, options.after};
}

std::unique_ptr<Communicator> HostCommunicator::split(int color, int key) {
  const std::uint64_t number = collectives_;
  std::int32_t mine[2] = {color, key};
  std::vector<std::int32_t> all(2 * static_cast<std::size_t>(size()));
  Call call;
  call.kind = CallKind::kSplit;
  call.in = reinterpret_cast<std::byte*>(mine);
  call.out = reinterpret_cast<std::byte*>(all.data());
  call.count = 2;
  call.dtype = DType::kI32;
  const Stream host;
  submit(std::move(call), CallOptions(host))->wait(host);

  std::vector<std::pair<int, int>> order;  // (key, rank)
  for (int r = 0; r < size() && color >= 0; ++r) {
    const auto at = 2 * static_cast<std::size_t>(r);
    if (all[at] == color) order.emplace_back(all[at + 1], r);
  }
  std::sort(order.begin(), order.end());
  std::vector<int> members;
  for (const auto& [k, r] : order)
    members.push_back(r);
  return make_part(members, number);
}

WorkPtr HostCommunicator::all_reduce(Tensor t, ReduceOp op, const CallOptions& options) {
  if (is_on_device(t)) {
    DeviceStage staged = stage(options);
    WorkPtr work = all_reduce(staged.update(t), op, options);
    return std::move(staged).finish(std::move(work));
  }
  Call call = make_call(CallKind::kAllReduce, t, t);
  check_reducible(call.kind, call.dtype, op);
  call.op = op;
  return submit(std::move(call), options);
}

WorkPtr HostCommunicator::reduce_scatter(Tensor in, Tensor out, ReduceOp op,
                                         const CallOptions& options) {
  if (is_on_device(in) || is_on_device(out)) {
    DeviceStage staged = stage(options);
    WorkPtr work = reduce_scatter(staged.read(in), staged.write(out), op, options);
    return std::move(staged).finish(std::move(work));
  }
  Call call = make_call(CallKind::kReduceScatter, in, out);
  check_sizes(call.kind, in, out, out.numel() * size(), out.numel());
  check_reducible(call.kind, call.dtype, op);
  call.op = op;
  return submit(std::move(call), options);
}

WorkPtr HostCommunicator::all_gather(Tensor in, Tensor out, const CallOptions& options) {
  if (is_on_device(in) || is_on_device(out)) {
    DeviceStage staged = stage(options);
    WorkPtr work = all_gather(staged.read(in), staged.write(out), options);
    return std::move(staged).finish(std::move(work));
  }
  Call call = make_call(CallKind::kAllGather, in, out);
  check_sizes(call.kind, in, out, in.numel(), in.numel() * size());
  return submit(std::move(call), options);
}

WorkPtr HostCommunicator::all_to_all(Tensor in, Tensor out, const CallOptions& options) {
  if (is_on_device(in) || is_on_device(out)) {
    DeviceStage staged = stage(options);
    WorkPtr work = all_to_all(staged.read(in), staged.write(out), options);
    return std::move(staged).finish(std::move(work));
  }
  Call call = make_call(CallKind::kAllToAll, in, out);
  check_sizes(call.kind, in, out, in.numel() / size() * size(), in.numel());
  if (in.numel() > 0 && call.in == call.out) {
    throw Error(ErrorKind::kUsage, "all-to-all: not in place");
  }
  return submit(std::move(call), options);
}

WorkPtr HostCommunicator::broadcast(Tensor t, int root, const CallOptions& options) {
  check_rank("broadcast: root", root, size());
  if (is_on_device(t)) {
    DeviceStage staged = stage(options);
    WorkPtr work = broadcast(staged.update(t), root, options);
    return std::move(staged).finish(std::move(work));
  }
  Call call = make_call(CallKind::kBroadcast, t, t);
  call.root = root;
  return submit(std::move(call), options);
}

WorkPtr HostCommunicator::batch_send_recv(std::span<const P2p> group, const CallOptions& options) {
  if (std::ranges::any_of(group, [](const P2p& p) { return is_on_device(p.buffer); })) {
    DeviceStage staged = stage(options);
    std::vector<P2p> on_host(group.begin(), group.end());
    for (P2p& p : on_host)
      p.buffer = p.dir == P2p::Dir::kSend ? staged.read(p.buffer) : staged.write(p.buffer);
    WorkPtr work = batch_send_recv(on_host, options);
    return std::move(staged).finish(std::move(work));
  }
  Call call;
  call.kind = CallKind::kExchange;
  for (const P2p& p : group) {
    check_rank("batch_send_recv: peer", p.peer, size());
    host_bytes(call.kind, p.buffer);
    call.group.push_back(p);
  }
  return submit(std::move(call), options);
}

void HostCommunicator::barrier() {
  const Stream host;
  submit(Call{}, CallOptions(host))->wait(host);
}

}  // namespace gradwire
