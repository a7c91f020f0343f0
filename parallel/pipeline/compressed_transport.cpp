#include "parallel/pipeline/compressed_transport.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "parallel/pipeline/difference_code.h"

namespace gradwire {
namespace {

WorkPtr post_send(Context& cx, Communicator& comm, int peer, std::span<const Tensor> wires,
                  std::span<const Tensor> tensors) {
  std::vector<P2p> group;
  for (const Tensor& wire : wires)
    group.push_back({P2p::Dir::kSend, peer, wire});
  std::size_t dense = 0;
  for (const Tensor& t : tensors)
    dense += t.bytes();
  return comm.batch_send_recv(group,
                              {cx.stream, Traffic::kActivation, static_cast<std::int64_t>(dense)});
}

// Of tensors that travel as `wires` and are to be as `specs`.
PendingReceive post_receive(Context& cx, Communicator& comm, int peer, std::vector<Tensor> wires,
                            std::span<const TensorSpec> specs) {
  PendingReceive r;
  std::vector<P2p> group;
  for (const Tensor& wire : wires)
    group.push_back({P2p::Dir::kRecv, peer, wire});
  for (const TensorSpec& s : specs)
    r.dtypes.push_back(s.dtype);
  r.work = comm.batch_send_recv(group, {cx.stream, Traffic::kActivation});
  r.buffers = std::move(wires);
  return r;
}

Tensor as_type(Context& cx, const Tensor& t, DType type) {
  return t.dtype() == type ? t : cast(cx, t, type);
}

DType narrowed(DType t) {
  return is_float(t) ? DType::kBf16 : t;
}

class Bf16Boundary final : public ActivationTransport {
 public:
  explicit Bf16Boundary(Communicator& stages) : comm_(stages) {}

  WorkPtr send(Context& cx, const ActivationLink&, int peer,
               std::span<const Tensor> tensors) override {
    std::vector<Tensor> wires;
    for (const Tensor& t : tensors)
      wires.push_back(as_type(cx, t, narrowed(t.dtype())));
    return post_send(cx, comm_, peer, wires, tensors);
  }
  PendingReceive receive(Context& cx, const ActivationLink&, int peer,
                         std::span<const TensorSpec> specs) override {
    std::vector<Tensor> wires;
    for (const TensorSpec& s : specs)
      wires.push_back(Tensor::empty(cx, s.shape, narrowed(s.dtype)));
    return post_receive(cx, comm_, peer, std::move(wires), specs);
  }
  std::vector<Tensor> take(Context& cx, const ActivationLink&, PendingReceive& r) override {
    r.work->wait(cx.stream);
    std::vector<Tensor> tensors = std::exchange(r.buffers, {});
    for (std::size_t i = 0; i < tensors.size(); ++i)
      tensors[i] = as_type(cx, tensors[i], r.dtypes[i]);
    return tensors;
  }

 private:
  Communicator& comm_;
};

class Int8Boundary final : public ActivationTransport {
 public:
  Int8Boundary(Context& cx, Communicator& stages, const Schedule& schedule, const Shape& shape)
      : comm_(stages), shape_(shape), code_(shape.numel()) {
    for (int s = 0; s + 1 < schedule.stages(); ++s) {
      const int from = schedule.rank_of(s), to = schedule.rank_of(s + 1);
      if (from == to || (from != stages.rank() && to != stages.rank())) continue;
      for (int micro = 0; micro < schedule.micros; ++micro)
        references_[{s, micro}] = Tensor::zeros(cx, shape, DType::kF32);
    }
  }

  WorkPtr send(Context& cx, const ActivationLink& link, int peer,
               std::span<const Tensor> tensors) override {
    std::vector<TensorSpec> specs;
    for (const Tensor& t : tensors)
      specs.push_back({t.shape(), t.dtype()});
    check_fits(link, specs);
    std::vector<Tensor> wires;
    for (const Tensor& t : tensors)
      wires.push_back(is_float(t.dtype()) ? encoded(cx, link, t) : t);
    return post_send(cx, comm_, peer, wires, tensors);
  }
  PendingReceive receive(Context& cx, const ActivationLink& link, int peer,
                         std::span<const TensorSpec> specs) override {
    check_fits(link, specs);
    std::vector<Tensor> wires;
    for (const TensorSpec& s : specs)
      wires.push_back(is_float(s.dtype) ? empty_code(cx) : Tensor::empty(cx, s.shape, s.dtype));
    return post_receive(cx, comm_, peer, std::move(wires), specs);
  }
  std::vector<Tensor> take(Context& cx, const ActivationLink& link, PendingReceive& r) override {
    r.work->wait(cx.stream);
    std::vector<Tensor> tensors = std::exchange(r.buffers, {});
    for (std::size_t i = 0; i < tensors.size(); ++i)
      if (is_float(r.dtypes[i]))
        tensors[i] = as_type(cx, decoded(cx, link, tensors[i]), r.dtypes[i]);
    return tensors;
  }
  void visit_state(StateVisitor& v) override {
    for (auto& [key, reference] : references_) {
      v.tensor(fmt::format("boundary/stage{}/micro{}", key.first, key.second), reference,
               Share::kPerLayout);
    }
  }

 private:
  using Key = std::pair<int, int>;  // stage that sends the result, micro-batch
  static Key key(const ActivationLink& link) { return {link.from_stage, link.micro}; }
  static std::span<std::byte> bytes_of(const Tensor& wire) {
    return std::as_writable_bytes(wire.host<std::uint8_t>());
  }
  std::span<float> reference(const ActivationLink& link) {
    if (link.gradient) return {};
    return references_.at(key(link)).host<float>();
  }
  Tensor empty_code(Context& cx) const { return Tensor::empty(cx, {code_.bytes()}, DType::kU8); }
  Tensor encoded(Context& cx, const ActivationLink& link, const Tensor& t) {
    const Tensor x = as_type(cx, t, DType::kF32);
    Tensor wire = empty_code(cx);
    Tensor difference = Tensor::empty(cx, shape_, DType::kF32);
    code_.encode(x.host<float>(), reference(link), difference.host<float>(), bytes_of(wire));
    return wire;
  }
  // The reference itself is what has arrived: it is not written before this micro-batch of the next
  // step.
  Tensor decoded(Context& cx, const ActivationLink& link, const Tensor& wire) {
    Tensor values =
        link.gradient ? Tensor::empty(cx, shape_, DType::kF32) : references_.at(key(link));
    if (code_.decode(bytes_of(wire), values.host<float>())) {
      if (!link.gradient) {
        const Tensor reference = std::exchange(values, Tensor::empty(cx, shape_, DType::kF32));
        copy(cx, values, reference);
      }
      code_.mark_lost(bytes_of(wire), values.host<float>());
    }
    return values;
  }
  void check_fits(const ActivationLink& link, std::span<const TensorSpec> specs) const {
    const auto of_floats = [](const TensorSpec& s) { return is_float(s.dtype); };
    const std::int64_t count = std::ranges::count_if(specs, of_floats);
    const auto first = std::ranges::find_if(specs, of_floats);
    if (count == 1 && first->shape == shape_) return;
    throw Error(
        ErrorKind::kConfig,
        fmt::format("parallel.boundary = \"int8\" has references for one tensor of {} between two "
                    "stages, but from stage {}, micro-batch {}, travel {}: set it to \"bf16\" or "
                    "\"same\"",
                    to_string(shape_), link.from_stage, link.micro,
                    count == 1 ? "those of " + to_string(first->shape)
                               : fmt::format("{} tensors of floats", count)));
  }

  Communicator& comm_;
  Shape shape_;
  DifferenceCode code_;
  std::map<Key, Tensor> references_;
};

}  // namespace

std::unique_ptr<ActivationTransport> make_bf16_transport(Communicator& stages) {
  return std::make_unique<Bf16Boundary>(stages);
}

std::unique_ptr<ActivationTransport> make_int8_transport(Context& cx, Communicator& stages,
                                                         const Schedule& schedule,
                                                         const Shape& shape) {
  return std::make_unique<Int8Boundary>(cx, stages, schedule, shape);
}

}  // namespace gradwire
