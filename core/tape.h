// Reverse-mode differentiation. The tape is a vector; a Var is an index into it; an op is a free
// function `Var op(Context&, Tape&, Var...)` that computes its output and records a closure.
// One tape lives for one micro-batch. Gradients live in Parameters and, during backward, in nodes;
// a node's value and gradient are freed as the walk leaves it.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/tensor.h"

namespace gradwire {

// A trainable (or frozen) tensor. The name is a unique path and the only identity: optimizer state,
// residuals and checkpoints are keyed by it. Owned by its module, never copied or moved.
struct Parameter {
  std::string name;
  Tensor value;  // f32 master copy
  Tensor grad;   // f32, same shape; accumulates; often a slice of a larger buffer
  bool trainable = true;
  bool grad_empty = true;    // nothing accumulated yet: the first contribution overwrites
  std::int64_t version = 0;  // raised by whoever changes `value`; copies derived from it compare it

  Parameter() = default;
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  // A derived copy (bf16, packed for a matrix unit) of the current version; opaque to all but the
  // op that made it.
  struct Derived {
    std::int64_t version = -1;
    std::shared_ptr<void> copy;
  };
  std::unordered_map<std::string, Derived> derived;
};

// Forgets the gradient without touching memory.
inline void clear_grad(Parameter& p) {
  p.grad_empty = true;
}
// Adds dv to the gradient, allocating it if there is none.
void accumulate_grad(Context& cx, Parameter& p, const Tensor& dv);

struct Var {
  std::int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
};

class Tape {
 public:
  // Gets the gradient of the recorded output and passes gradients on with accumulate().
  using Backward = std::function<void(Context&, Tape&, const Tensor& dy)>;
  using ParamHook = std::function<void(Parameter&)>;

  // Recording off: values only, nothing is kept for backward (inference).
  explicit Tape(bool recording = true) : recording_(recording) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Var constant(Tensor t);
  Var input(Tensor t);      // its gradient is kept after backward: grad()
  Var param(Parameter& p);  // the same Var when asked again
  // Adds an op's output. `backward` is kept only if recording and some input needs a gradient;
  // wants_grad() tells beforehand, so that an op saves nothing for a frozen path.
  Var record(Tensor out, std::initializer_list<Var> in, Backward backward);
  Var record(Tensor out, std::span<const Var> in, Backward backward);

  bool recording() const { return recording_; }
  const Tensor& value(Var v) const;
  Parameter* parameter(Var v) const;  // null unless v is a parameter
  bool needs_grad(Var v) const;
  bool wants_grad(std::initializer_list<Var> in) const;
  // Lets go of a value that no later op will read; closures that saved the tensor still hold it.
  void release(Var v);

  // Lets go of all values but that of root: the forward pass is over, and backward keeps what it
  // needs by itself.
  void keep_only(Var root);

  // For closures: adds dv to the gradient of v. The first contribution is taken over as it is, so
  // dv must not be written afterwards. A v that needs no gradient is ignored.
  void accumulate(Context& cx, Var v, Tensor dv);
  // For closures that can add in place (matrix products): calls write(grad, beta) on the
  // parameter's own gradient buffer, beta 0 if it is still empty and 1 if it must be added
  // to.
  using WriteGrad = std::function<void(const Tensor& grad, float beta)>;
  void accumulate_in_place(Context& cx, Var v, const WriteGrad& write);
  // The same, but a split backward leaves it for backward_weights(): `write` owns what it uses.
  using WriteGradLater = std::function<void(Context&, const Tensor& grad, float beta)>;
  void accumulate_later(Context& cx, Var v, WriteGradLater write);

  // Walks from the end. `seed` is the gradient of root. The tape is spent afterwards; a second call
  // throws Error(kUsage).
  void backward(Context& cx, Var root, const Tensor& seed);
  // The same in two parts, so that a pipeline can pass the input's gradient on before it computes
  // those of the weights (Qi et al., "Zero bubble pipeline parallelism", ICLR 2024). In between,
  // what the matrix products of weights need is kept.
  void backward_inputs(Context& cx, Var root, const Tensor& seed);
  void backward_weights(Context& cx);
  // For closures that differentiate a tape of their own in the same way as this one: its
  // backward_weights() becomes part of this one's, and the parameters are not ready before.
  bool splits() const { return splits_; }
  void adopt_weights(std::shared_ptr<Tape> inner, std::span<const Var> params);
  const Tensor& grad(Var input) const;  // of an input(), after backward; empty if none flowed

  // Called once per trainable parameter on this tape, as soon as the last op that used it has been
  // differentiated. A parameter that no gradient reached fires too, with grad_empty set.
  void on_param_ready(ParamHook hook) { hook_ = std::move(hook); }

 private:
  struct Node {
    Tensor value, grad;
    Backward backward;
    Parameter* param = nullptr;
    std::vector<std::int32_t> param_inputs;  // parameter nodes this op used
    std::int32_t uses = 0;                   // of a parameter node: ops not yet differentiated
    bool needs = false, is_input = false;
  };
  // What a split backward leaves for later, and the parameters that wait for it.
  struct Deferred {
    std::function<void(Context&)> run;
    std::vector<std::int32_t> params;
  };
  Node& node(Var v);
  const Node& node(Var v) const;
  void walk(Context& cx, Var root, const Tensor& seed);
  void leave(Node& n);
  void release_use(std::int32_t param);

  std::vector<Node> nodes_;
  std::unordered_map<const Parameter*, std::int32_t> params_;
  ParamHook hook_;
  std::vector<Deferred> deferred_;
  bool recording_;
  bool splits_ = false;
  bool spent_ = false;
};

}  // namespace gradwire
