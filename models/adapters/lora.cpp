#include "models/adapters/lora.h"

#include <algorithm>
#include <cmath>

#include "core/ops/dropout/dropout.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"
#include "core/ops/reduce/reduce.h"
#include "core/ops/shape/shape.h"

namespace gradwire {
namespace {

// Row i of W + s B A.
std::vector<double> updated_row(const LinearWeights& linear, std::int64_t i,
                                const std::vector<float>& a, const std::vector<float>& b,
                                double scale) {
  const std::int64_t rank = std::ssize(b) / linear.out;
  const float* w = linear.weight.data() + i * linear.in;
  std::vector<double> row(w, w + linear.in);
  for (std::int64_t k = 0; k < rank; ++k) {
    const double factor = scale * static_cast<double>(b[static_cast<std::size_t>(i * rank + k)]);
    const float* from = a.data() + k * linear.in;
    for (std::size_t j = 0; j < row.size(); ++j)
      row[j] += factor * static_cast<double>(from[j]);
  }
  return row;
}

double length_of(const std::vector<double>& row) {
  double sum = 0.0;
  for (const double x : row)
    sum += x * x;
  return std::sqrt(sum);
}

class Lora : public Adapter {
 public:
  Lora(Context& cx, const Site& site, const std::string& name, const AdapterConfig& config)
      : scale_(config.lora_scale()), dropout_(config.dropout) {
    const std::string a_name = adapter_parameter(site, "lora_A", name);
    if (config.init == AdapterInit::kNormal) {
      init_normal(cx, a_, a_name, {config.rank, site.in}, 1.0 / static_cast<double>(config.rank));
    } else {
      init_uniform(cx, a_, a_name, {config.rank, site.in}, fan_in_bound(site.in));
    }
    init_constant(cx, b_, adapter_parameter(site, "lora_B", name), {site.out, config.rank}, 0.0);
  }

  Var output(Context& cx, Tape& tape, const SiteInput& in, Var y) override {
    return add(cx, tape, y, update(cx, tape, in.x));
  }

  bool merge(Context& cx, LinearWeights& linear) const override {
    merge_rows(cx, linear, {});
    return true;
  }

  void visit_params(const Visitor& f) override {
    f(a_);
    f(b_);
  }

 protected:
  // `lengths`: what the rows are made to be long; empty: as long as they come.
  void merge_rows(Context& cx, LinearWeights& linear, const std::vector<float>& lengths) const {
    const std::vector<float> a = a_.value.to_host<float>(cx), b = b_.value.to_host<float>(cx);
    for (std::int64_t i = 0; i < linear.out; ++i) {
      const std::vector<double> row = updated_row(linear, i, a, b, scale_);
      double factor = 1.0;
      if (!lengths.empty()) {
        const double length = length_of(row);
        factor = length == 0.0 ? 0.0
                               : static_cast<double>(lengths[static_cast<std::size_t>(i)]) / length;
      }
      float* to = linear.weight.data() + i * linear.in;
      for (std::size_t j = 0; j < row.size(); ++j)
        to[j] = static_cast<float>(factor * row[j]);
    }
  }

  Var update(Context& cx, Tape& tape, Var x) {
    return low_rank(cx, tape, dropout(cx, tape, x, dropout_), tape.param(a_), tape.param(b_),
                    scale_);
  }
  Tensor norms(Context& cx, const Tensor& w, const Tensor& squares) const {
    return row_norms(cx, w, squares, a_.value, b_.value, scale_);
  }

 private:
  double scale_, dropout_;
  Parameter a_, b_;
};

class Dora final : public Lora {
 public:
  // The length of a row scales the product alone.
  bool allows_bias() const override { return false; }
  Dora(Context& cx, const Site& site, const std::string& name, const AdapterConfig& config)
      : Lora(cx, site, name, config), weight_(*site.weight) {
    init_constant(cx, m_, adapter_parameter(site, "lora_magnitude_vector", name), {site.out}, 0.0);
    copy(cx, m_.value, norms(cx, weight_.value, squares(cx)));
  }

  Var output(Context& cx, Tape& tape, const SiteInput& in, Var y) override {
    const Tensor lengths = norms(cx, weight_.value, squares(cx));
    return mul(cx, tape, Lora::output(cx, tape, in, y), factor(cx, tape, y, lengths));
  }

  bool merge(Context& cx, LinearWeights& linear) const override {
    if (!linear.bias.empty()) return false;
    merge_rows(cx, linear, m_.value.to_host<float>(cx));
    return true;
  }

  void visit_params(const Visitor& f) override {
    Lora::visit_params(f);
    f(m_);
  }

 private:
  const Tensor& squares(Context& cx) {
    if (!squares_ || squares_of_ != weight_.version) {
      Context params = cx.in(Segment::kParams);
      squares_ = row_squares(params, weight_.value);
      squares_of_ = weight_.version;
    }
    return squares_;
  }
  // m / lengths, of y's type. Divided in one rounding, so that it is exactly 1 at first. A row of
  // zeros has no direction to scale: its factor is 0.
  Var factor(Context& cx, Tape& tape, Var y, const Tensor& lengths) {
    const std::vector<float> m = m_.value.to_host<float>(cx), n = lengths.to_host<float>(cx);
    std::vector<float> ratio(m.size()), inverse(m.size());
    for (std::size_t i = 0; i < m.size(); ++i) {
      ratio[i] = n[i] == 0.0F ? 0.0F : m[i] / n[i];
      inverse[i] = n[i] == 0.0F ? 0.0F : 1.0F / n[i];
    }
    const Var mv = tape.param(m_);
    const Tensor slope = Tensor::from(cx, m_.value.shape(), inverse);
    const Var f = tape.record(
        Tensor::from(cx, m_.value.shape(), ratio), {mv},
        [mv, slope](Context& c, Tape& t, const Tensor& df) {
          Tape inner(false);
          t.accumulate(c, mv,
                       inner.value(mul(c, inner, inner.constant(df), inner.constant(slope))));
        });
    const DType type = tape.value(y).dtype();
    return type == DType::kF32 ? f : cast(cx, tape, f, type);
  }

  Parameter& weight_;
  Parameter m_;
  Tensor squares_;
  std::int64_t squares_of_ = -1;  // version of the weight
};

}  // namespace

Var low_rank(Context& cx, Tape& tape, Var x, Var a, Var b, double scale) {
  // The thin result is the cheap one to scale.
  return linear(cx, tape, scaled(cx, tape, linear(cx, tape, x, a), scale), b);
}

Tensor row_squares(Context& cx, const Tensor& w) {
  Tape tape(false);
  return tape.value(sum_dim(cx, tape, unary(cx, tape, Unary::kSquare, tape.constant(w)), 1));
}

Tensor row_norms(Context& cx, const Tensor& w, const Tensor& squares, const Tensor& a,
                 const Tensor& b, double scale) {
  Tape tape(false);
  const Var av = tape.constant(a), bv = tape.constant(b);
  const Var crossed =
      sum_dim(cx, tape, mul(cx, tape, linear(cx, tape, tape.constant(w), av), bv), 1);
  const Var gram = linear(cx, tape, av, av);
  const Var own = sum_dim(cx, tape, mul(cx, tape, linear(cx, tape, bv, gram), bv), 1);
  const Var low =
      add(cx, tape, scaled(cx, tape, crossed, 2.0 * scale), scaled(cx, tape, own, scale * scale));
  const Tensor sum = tape.value(add(cx, tape, tape.constant(squares), low));
  std::vector<double> norms = sum.to_host<double>(cx);
  for (double& n : norms)
    n = std::sqrt(std::max(0.0, n));
  return cast(cx, Tensor::from(cx, sum.shape(), norms), sum.dtype());
}

std::unique_ptr<Adapter> make_lora(Context& cx, const Site& site, const std::string& name,
                                   const AdapterConfig& config) {
  return std::make_unique<Lora>(cx, site, name, config);
}

std::unique_ptr<Adapter> make_dora(Context& cx, const Site& site, const std::string& name,
                                   const AdapterConfig& config) {
  return std::make_unique<Dora>(cx, site, name, config);
}

}  // namespace gradwire
