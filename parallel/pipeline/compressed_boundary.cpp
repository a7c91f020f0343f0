#include "parallel/pipeline/compressed_boundary.h"

#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "parallel/pipeline/difference_code.h"

namespace gradwire {
namespace {

WorkPtr post_send(Context& cx, Communicator& comm, int peer, const Tensor& wire,
                  std::size_t dense_bytes) {
  const std::array group{P2p{P2p::Dir::kSend, peer, wire}};
  return comm.exchange(group,
                       {cx.stream, Traffic::kActivation, static_cast<std::int64_t>(dense_bytes)});
}

BoundaryReceive post_receive(Context& cx, Communicator& comm, int peer, const Tensor& wire) {
  const std::array group{P2p{P2p::Dir::kRecv, peer, wire}};
  return {comm.exchange(group, {cx.stream, Traffic::kActivation}), wire};
}

Tensor as_type(Context& cx, const Tensor& t, DType type) {
  return t.dtype() == type ? t : cast(cx, t, type);
}

class Bf16Boundary final : public Boundary {
 public:
  explicit Bf16Boundary(Communicator& stages) : comm_(stages) {}

  WorkPtr send(Context& cx, const BoundaryLink&, int peer, const Tensor& t) override {
    return post_send(cx, comm_, peer, as_type(cx, t, DType::kBf16), t.bytes());
  }
  BoundaryReceive receive(Context& cx, const BoundaryLink&, int peer, const Shape& shape,
                          DType dtype) override {
    BoundaryReceive r = post_receive(cx, comm_, peer, Tensor::empty(cx, shape, DType::kBf16));
    r.dtype = dtype;
    return r;
  }
  Tensor take(Context& cx, const BoundaryLink&, BoundaryReceive& r) override {
    r.work->wait(cx.stream);
    return as_type(cx, std::exchange(r.buffer, {}), r.dtype);
  }

 private:
  Communicator& comm_;
};

class Int8Boundary final : public Boundary {
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

  WorkPtr send(Context& cx, const BoundaryLink& link, int peer, const Tensor& t) override {
    check_shape(link, t.shape());
    const Tensor x = as_type(cx, t, DType::kF32);
    Tensor wire = Tensor::empty(cx, {code_.bytes()}, DType::kU8);
    Tensor difference = Tensor::empty(cx, shape_, DType::kF32);
    code_.encode(x.host<float>(), reference(link), difference.host<float>(), bytes_of(wire));
    return post_send(cx, comm_, peer, wire, t.bytes());
  }
  BoundaryReceive receive(Context& cx, const BoundaryLink& link, int peer, const Shape& shape,
                          DType dtype) override {
    check_shape(link, shape);
    BoundaryReceive r =
        post_receive(cx, comm_, peer, Tensor::empty(cx, {code_.bytes()}, DType::kU8));
    r.dtype = dtype;
    return r;
  }
  // The reference itself is what has arrived: it is not written before this micro-batch of the next
  // step.
  Tensor take(Context& cx, const BoundaryLink& link, BoundaryReceive& r) override {
    r.work->wait(cx.stream);
    const Tensor wire = std::exchange(r.buffer, {});
    Tensor values =
        link.gradient ? Tensor::empty(cx, shape_, DType::kF32) : references_.at(key(link));
    if (code_.decode(bytes_of(wire), values.host<float>())) {
      if (!link.gradient) {
        const Tensor reference = std::exchange(values, Tensor::empty(cx, shape_, DType::kF32));
        copy(cx, values, reference);
      }
      code_.mark_lost(bytes_of(wire), values.host<float>());
    }
    return as_type(cx, values, r.dtype);
  }
  void visit_state(StateVisitor& v) override {
    for (auto& [key, reference] : references_) {
      v.tensor(fmt::format("boundary/stage{}/micro{}", key.first, key.second), reference,
               Share::kPerLayout);
    }
  }

 private:
  using Key = std::pair<int, int>;  // stage that sends the result, micro-batch
  static Key key(const BoundaryLink& link) { return {link.from_stage, link.micro}; }
  static std::span<std::byte> bytes_of(const Tensor& wire) {
    return std::as_writable_bytes(wire.host<std::uint8_t>());
  }
  std::span<float> reference(const BoundaryLink& link) {
    if (link.gradient) return {};
    return references_.at(key(link)).host<float>();
  }
  void check_shape(const BoundaryLink& link, const Shape& shape) const {
    if (shape == shape_) return;
    throw Error(ErrorKind::kShape,
                fmt::format("from stage {}, micro-batch {}: {} where all results are {}",
                            link.from_stage, link.micro, to_string(shape), to_string(shape_)));
  }

  Communicator& comm_;
  Shape shape_;
  DifferenceCode code_;
  std::map<Key, Tensor> references_;
};

}  // namespace

std::unique_ptr<Boundary> make_bf16_boundary(Communicator& stages) {
  return std::make_unique<Bf16Boundary>(stages);
}

std::unique_ptr<Boundary> make_int8_boundary(Context& cx, Communicator& stages,
                                             const Schedule& schedule, const Shape& shape) {
  return std::make_unique<Int8Boundary>(cx, stages, schedule, shape);
}

}  // namespace gradwire
