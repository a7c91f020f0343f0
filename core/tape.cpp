#include "core/tape.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

void accumulate_grad(Context& cx, Parameter& p, const Tensor& dv) {
  if (!p.grad) {
    Context grads = cx.in(Segment::kGrads);
    p.grad = Tensor::empty(grads, p.value.shape(), p.value.dtype());
    p.grad_empty = true;
  }
  if (p.grad_empty) {
    copy(cx, p.grad, dv);
  } else {
    add_scaled(cx, p.grad, dv);
  }
  p.grad_empty = false;
}

Tape::Node& Tape::node(Var v) {
  if (v.id < 0 || static_cast<std::size_t>(v.id) >= nodes_.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("tape: no such variable: {}", v.id));
  }
  return nodes_[static_cast<std::size_t>(v.id)];
}

const Tape::Node& Tape::node(Var v) const {
  return const_cast<Tape*>(this)->node(v);
}

Var Tape::constant(Tensor t) {
  Node n;
  n.value = std::move(t);
  nodes_.push_back(std::move(n));
  return {static_cast<std::int32_t>(nodes_.size()) - 1};
}

Var Tape::input(Tensor t) {
  const Var v = constant(std::move(t));
  node(v).needs = recording_;
  node(v).is_input = true;
  return v;
}

Var Tape::param(Parameter& p) {
  const auto known = params_.find(&p);
  if (known != params_.end()) return {known->second};
  const Var v = constant(p.value);
  node(v).needs = recording_ && p.trainable;
  node(v).param = &p;
  params_.emplace(&p, v.id);
  return v;
}

Var Tape::record(Tensor out, std::initializer_list<Var> in, Backward backward) {
  return record(std::move(out), std::span<const Var>(in.begin(), in.size()), std::move(backward));
}

Var Tape::record(Tensor out, std::span<const Var> in, Backward backward) {
  Node n;
  n.value = std::move(out);
  for (const Var v : in) {
    if (!v || !node(v).needs) continue;
    n.needs = true;
    if (node(v).param != nullptr) {
      n.param_inputs.push_back(v.id);
      ++node(v).uses;
    }
  }
  if (n.needs) n.backward = std::move(backward);
  nodes_.push_back(std::move(n));
  return {static_cast<std::int32_t>(nodes_.size()) - 1};
}

const Tensor& Tape::value(Var v) const {
  return node(v).value;
}
Parameter* Tape::parameter(Var v) const {
  return node(v).param;
}
bool Tape::needs_grad(Var v) const {
  return v && node(v).needs;
}

bool Tape::wants_grad(std::initializer_list<Var> in) const {
  for (const Var v : in) {
    if (needs_grad(v)) return true;
  }
  return false;
}

void Tape::release(Var v) {
  if (node(v).param == nullptr) node(v).value = {};
}

void Tape::keep_only(Var root) {
  const Tensor kept = value(root);
  for (Node& n : nodes_)
    n.value = {};
  node(root).value = kept;
}

void Tape::accumulate(Context& cx, Var v, Tensor dv) {
  Node& n = node(v);
  if (!n.needs) return;
  if (n.param != nullptr) return accumulate_grad(cx, *n.param, dv);
  if (!n.grad) {
    n.grad = std::move(dv);
    return;
  }
  // The first contribution may be shared with another node (an addition passes dy to both sides).
  if (!n.grad.unique()) {
    Tensor own = Tensor::empty(cx, n.grad.shape(), n.grad.dtype());
    copy(cx, own, n.grad);
    n.grad = std::move(own);
  }
  add_scaled(cx, n.grad, dv);
}

void Tape::accumulate_in_place(Context& cx, Var v, const WriteGrad& write) {
  Node& n = node(v);
  if (!n.needs) return;
  check(n.param != nullptr, ErrorKind::kInternal, "accumulate_in_place: not a parameter");
  Parameter& p = *n.param;
  if (!p.grad) {
    Context grads = cx.in(Segment::kGrads);
    p.grad = Tensor::empty(grads, p.value.shape(), p.value.dtype());
    p.grad_empty = true;
  }
  write(p.grad, p.grad_empty ? 0.0F : 1.0F);
  p.grad_empty = false;
}

void Tape::accumulate_later(Context& cx, Var v, WriteGradLater write) {
  if (!node(v).needs) return;
  const auto run = [this, v, write = std::move(write)](Context& c) {
    accumulate_in_place(c, v, [&](const Tensor& grad, float beta) { write(c, grad, beta); });
  };
  if (!splits_) return run(cx);
  ++node(v).uses;
  deferred_.push_back({run, {v.id}});
}

void Tape::adopt_weights(std::shared_ptr<Tape> inner, std::span<const Var> params) {
  Deferred& d = deferred_.emplace_back();
  d.run = [inner = std::move(inner)](Context& c) { inner->backward_weights(c); };
  for (const Var v : params) {
    if (!node(v).needs) continue;
    ++node(v).uses;
    d.params.push_back(v.id);
  }
}

void Tape::release_use(std::int32_t param) {
  Node& leaf = nodes_[static_cast<std::size_t>(param)];
  if (--leaf.uses == 0 && hook_) hook_(*leaf.param);
}

void Tape::leave(Node& n) {
  for (const std::int32_t id : n.param_inputs)
    release_use(id);
  n.backward = nullptr;
  n.value = {};
  if (!n.is_input) n.grad = {};
}

void Tape::backward(Context& cx, Var root, const Tensor& seed) {
  walk(cx, root, seed);
}

void Tape::backward_inputs(Context& cx, Var root, const Tensor& seed) {
  splits_ = true;
  walk(cx, root, seed);
}

void Tape::backward_weights(Context& cx) {
  check(splits_, ErrorKind::kUsage, "backward_weights: backward_inputs comes first");
  for (Deferred& d : deferred_) {
    std::exchange(d.run, nullptr)(cx);
    for (const std::int32_t id : d.params)
      release_use(id);
  }
  deferred_.clear();
}

void Tape::walk(Context& cx, Var root, const Tensor& seed) {
  check(recording_, ErrorKind::kUsage, "backward: this tape does not record");
  check(!spent_, ErrorKind::kUsage, "backward: this tape has been walked already");
  spent_ = true;
  if (seed.shape() != value(root).shape()) {
    throw Error(ErrorKind::kShape,
                fmt::format("backward: seed {} for a root of {}", to_string(seed.shape()),
                            to_string(value(root).shape())));
  }
  // Closures hold what they need; the tape's own handles would only keep memory alive.
  for (Node& n : nodes_)
    n.value = {};
  accumulate(cx, root, seed);
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    Node& n = nodes_[i];
    if (n.param != nullptr) continue;
    if (n.backward && n.grad) {
      const Tensor dy = n.is_input ? n.grad : std::exchange(n.grad, Tensor{});
      n.backward(cx, *this, dy);
    }
    leave(nodes_[i]);
  }
}

const Tensor& Tape::grad(Var input) const {
  check(node(input).is_input, ErrorKind::kUsage, "grad: only an input() keeps its gradient");
  return node(input).grad;
}

}  // namespace gradwire
