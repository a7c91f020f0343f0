#include "comm/reducer/low_rank_bucket.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "comm/reducer/feedback_kernels.h"
#include "comm/reducer/low_rank_kernels.h"
#include "comm/reducer/orthonormal.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;
constexpr std::int64_t kRowTile = std::int64_t{1} << 14;  // elements
// Columns: long enough runs of a row, and sums that stay in the first-level cache.
constexpr std::int64_t kFewestColumns = 128, kMostColumns = 512, kColumnTiles = 8;
constexpr std::int64_t kMost = LowRankKernels::kMost;

float* at(const Tensor& t, std::int64_t i) {
  return t ? t.data<float>() + i : nullptr;
}

const std::byte* live_bits(const Exchange& e) {
  return static_cast<const std::byte*>(e.live.raw());
}

// f(first, count) for groups of at most kMost of n vectors.
template <class F>
void in_groups(std::int64_t n, const F& f) {
  for (std::int64_t k = 0; k < n; k += kMost)
    f(k, static_cast<int>(std::min(kMost, n - k)));
}

}  // namespace

LowRankBucket::LowRankBucket(Context& cx, const FlatBucket& layout, const LowRankShared& shared)
    : layout_(layout), shared_(shared), woken_parameters_(cx, shared.comm, layout) {
  for (std::size_t i = 0; i < layout.params.size(); ++i)
    add_param(*layout.params[i], i);
  for (Plain& plain : plain_) {
    plain.at = p_size_;
    p_size_ += plain.size;
  }
  Context buffers = cx.in(Segment::kComm);
  const auto zeros = [&](std::int64_t n) { return Tensor::zeros(buffers, {n}, DType::kF32); };
  error_ = zeros(layout.numel());
  p_ = zeros(p_size_ + 1);  // the last says that a coordinate wakes up
  q_ = zeros(q_size_);
  if (shared.comm.size() > 1) sent_q_ = zeros(q_size_);
  dependent_.resize(matrices_.size() * static_cast<std::size_t>(rank()));
  for (std::size_t i = 0; i < matrices_.size(); ++i)
    for (std::int64_t k = 0; k < rank(); ++k)
      draw(i, k, 0);
}

void LowRankBucket::add_param(const Parameter& p, std::size_t index) {
  const std::int64_t begin = layout_.begins[index], size = p.value.numel();
  const std::int64_t rows = p.value.rank() >= 2 && size > 0 ? p.value.dim(0) : 1;
  const std::int64_t cols = size / rows;
  if (rank() * (rows + cols) >= size) {
    plain_.push_back({begin, size, 0});
    return;
  }
  const std::uint64_t seed = derive_seed(derive_seed(shared_.config.seed, "powersgd"), p.name);
  const std::size_t matrix = matrices_.size();
  matrices_.push_back({index, begin, rows, cols, p_size_, q_size_, room_, seed});
  p_size_ += rank() * rows;
  q_size_ += rank() * cols;
  room_ += orthonormal_room(rank(), rows);
  const std::int64_t tile_rows = std::max<std::int64_t>(1, kRowTile / cols);
  for (std::int64_t i = 0; i < rows; i += tile_rows)
    row_tiles_.push_back({matrix, i, std::min(rows, i + tile_rows)});
  const std::int64_t tile_cols = std::clamp(cols / kColumnTiles, kFewestColumns, kMostColumns);
  for (std::int64_t j = 0; j < cols; j += tile_cols)
    column_tiles_.push_back({matrix, j, std::min(cols, j + tile_cols)});
}

template <class F>
void LowRankBucket::for_each(const std::vector<Tile>& tiles, const F& f) const {
  parallel_for(static_cast<std::int64_t>(tiles.size()), 1, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t i = b; i < e; ++i)
      f(tiles[static_cast<std::size_t>(i)]);
  });
}

void LowRankBucket::reset_residuals(Context& cx) {
  fill(cx, error_, 0.0);
}

void LowRankBucket::send(Context& cx, const Exchange& e) {
  exchange_ = e;
  for (const Exchange::Range range : e.renewed)
    std::fill_n(at(error_, range.begin), range.end - range.begin, 0.0F);
  take_contribution();
  for_each(row_tiles_, [&](const Tile& t) { make_p(t); });
  *at(p_, p_size_) = woken_parameters_.note(e) ? 1.0F : 0.0F;
  const int ranks = shared_.comm.size();
  if (ranks == 1 || p_size_ == 0) return;
  p_work_ = shared_.comm.all_reduce(
      p_.slice(0, e.woken ? p_size_ + 1 : p_size_), ReduceOp::kMean,
      {cx.stream, Traffic::kGradient, dense_exchange_bytes(layout_.numel(), ranks)});
}

// M = residual + contribution; what travels as it is goes straight into the message.
void LowRankBucket::take_contribution() {
  const Contribution e = contribution_of(exchange_);
  const LowRankKernels& loops = low_rank_kernels();
  const std::array factors = {e.momentum ? (1.0F - e.beta) * e.weight : e.weight, e.beta};
  for (const Matrix& m : matrices_)
    parallel_for(m.rows * m.cols, kGrain, [&](std::int64_t b, std::int64_t end) {
      const std::array<const float*, 2> from = {at(e.value, m.begin + b),
                                                at(e.momentum, m.begin + b)};
      loops.combine(true, factors.data(), from.data(), e.momentum ? 2 : 1, end - b,
                    at(error_, m.begin + b));
    });
  zero_dead(error_.data<float>());
  for (const Plain& plain : plain_) {
    float* const to = at(p_, plain.at);
    feedback_kernels().contribution(at(e.value, plain.begin), at(e.momentum, plain.begin), e.weight,
                                    e.beta, plain.size, to);
    // Parameters begin at whole bytes.
    if (!exchange_.live) continue;
    feedback_kernels().zero_dead(live_bits(exchange_) + plain.begin / 8, plain.size, to);
  }
}

void LowRankBucket::zero_dead(float* x) const {
  if (!exchange_.live) return;
  parallel_for(layout_.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
    feedback_kernels().zero_dead(live_bits(exchange_) + b / 8, e - b, x + b);
  });
}

// P^T[k, i] = M[i, :] . Q^T[k, :]
void LowRankBucket::make_p(const Tile& rows) {
  const Matrix& m = matrices_[rows.matrix];
  for (std::int64_t i = rows.begin; i < rows.end; ++i)
    in_groups(rank(), [&](std::int64_t first, int count) {
      std::array<const float*, kMost> factor{};
      std::array<float, kMost> sum{};
      for (int k = 0; k < count; ++k)
        factor[static_cast<std::size_t>(k)] = q(m, first + k);
      low_rank_kernels().dots(at(error_, m.begin + i * m.cols), factor.data(), count, m.cols,
                              sum.data());
      for (int k = 0; k < count; ++k)
        p(m, first + k)[i] = sum[static_cast<std::size_t>(k)];
    });
}

void LowRankBucket::serve(Context& cx) {
  if (p_work_) p_work_->wait(cx.stream);
  p_work_.reset();
  orthonormalize();
  for_each(column_tiles_, [&](const Tile& t) { make_own_q(t); });
  if (shared_.comm.size() == 1 || q_size_ == 0) return;
  std::copy_n(q_.data<float>(), q_size_, sent_q_.data<float>());
  q_work_ = shared_.comm.all_reduce(sent_q_, ReduceOp::kMean, {cx.stream, Traffic::kGradient, 0});
}

void LowRankBucket::orthonormalize() {
  parallel_for(static_cast<std::int64_t>(matrices_.size()), 1, [&](std::int64_t b, std::int64_t e) {
    for (auto i = static_cast<std::size_t>(b); i < static_cast<std::size_t>(e); ++i) {
      const Matrix& m = matrices_[i];
      const bool finite =
          orthonormalize_rows(p(m, 0), rank(), m.rows, shared_.room.data<double>() + m.room,
                              &dependent_[i * static_cast<std::size_t>(rank())]);
      if (finite) continue;
      throw Error(ErrorKind::kNumeric,
                  fmt::format("powersgd: what the ranks gave for '{}' is not finite",
                              layout_.params[m.param]->name));
    }
  });
}

// Q^T[k, :] = the sum over i of P^T[k, i] M[i, :]
void LowRankBucket::make_own_q(const Tile& columns) {
  const Matrix& m = matrices_[columns.matrix];
  in_groups(m.rows, [&](std::int64_t first, int count) {
    std::array<const float*, kMost> row{};
    for (int i = 0; i < count; ++i)
      row[static_cast<std::size_t>(i)] = at(error_, m.begin + (first + i) * m.cols + columns.begin);
    for (std::int64_t k = 0; k < rank(); ++k)
      low_rank_kernels().combine(first > 0, p(m, k) + first, row.data(), count,
                                 columns.end - columns.begin, q(m, k) + columns.begin);
  });
}

void LowRankBucket::expand(const Tile& rows, bool subtract, float* to) const {
  const Matrix& m = matrices_[rows.matrix];
  for (std::int64_t i = rows.begin; i < rows.end; ++i)
    in_groups(rank(), [&](std::int64_t first, int count) {
      std::array<const float*, kMost> factor{};
      std::array<float, kMost> weight{};
      for (int k = 0; k < count; ++k) {
        const auto j = static_cast<std::size_t>(k);
        factor[j] = q(m, first + k);
        weight[j] = subtract ? -p(m, first + k)[i] : p(m, first + k)[i];
      }
      low_rank_kernels().combine(subtract || first > 0, weight.data(), factor.data(), count, m.cols,
                                 to + m.begin + i * m.cols);
    });
}

// The residual needs this rank's Q only: it is made while the others' are on their way.
void LowRankBucket::receive(Context& cx, std::int64_t step) {
  for_each(row_tiles_, [&](const Tile& t) { expand(t, true, error_.data<float>()); });
  zero_dead(error_.data<float>());
  if (q_work_) {
    q_work_->wait(cx.stream);
    std::copy_n(sent_q_.data<float>(), q_size_, q_.data<float>());
  }
  q_work_.reset();
  float* const to = at(contribution_of(exchange_).result(), 0);
  for_each(row_tiles_, [&](const Tile& t) { expand(t, false, to); });
  zero_dead(to);
  for (const Plain& plain : plain_)
    std::copy_n(at(p_, plain.at), plain.size, to + plain.begin);
  // A direction in which nothing was found would find nothing again.
  for (std::size_t i = 0; i < dependent_.size(); ++i) {
    const auto k = static_cast<std::int64_t>(i) % rank();
    if (dependent_[i] != 0) draw(i / static_cast<std::size_t>(rank()), k, step + 1);
  }
  use_all(exchange_, layout_.numel());
  if (*at(p_, p_size_) > 0.0F) woken_parameters_.tell(cx, exchange_);
  exchange_ = {};
}

// Uniform numbers, where the authors take normal ones: these are exact, so the same on every host.
void LowRankBucket::draw(std::size_t matrix, std::int64_t k, std::int64_t step) {
  const Matrix& m = matrices_[matrix];
  const std::uint64_t seed = derive_seed(m.seed, static_cast<std::uint64_t>(step));
  for (std::int64_t j = 0; j < m.cols; ++j)
    q(m, k)[j] =
        2.0F * to_uniform(random_word(seed, static_cast<std::uint64_t>(k * m.cols + j))) - 1.0F;
}

void LowRankBucket::visit_state(StateVisitor& visitor) {
  for (const Matrix& m : matrices_) {
    const std::string& name = layout_.params[m.param]->name;
    Tensor error = layout_.view_in(error_, m.param);
    visitor.tensor(fmt::format("powersgd/e/{}", name), error, Share::kMean);
    Tensor factor = q_.slice(m.q, m.q + rank() * m.cols).view({rank(), m.cols});
    visitor.tensor(fmt::format("powersgd/q/{}", name), factor, Share::kReplicated);
  }
}

}  // namespace gradwire
