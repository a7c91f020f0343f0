// One bucket of the PowerSGD reducer (power_sgd.h has the rules): the factors of its matrices, what
// this rank carries over from step to step, and its two messages. Factors are kept transposed, P as
// [r, m] and Q as [r, n], so that every loop runs along memory.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "comm/reducer/power_sgd.h"
#include "comm/reducer/woken_parameters.h"

namespace gradwire {

// What all buckets of a reducer share.
struct LowRankShared {
  PowerSgdConfig config;
  Communicator& comm;
  Tensor room;  // f64, for the bucket that needs most
};

class LowRankBucket {
 public:
  LowRankBucket(Context& cx, const FlatBucket& layout, const LowRankShared& shared);

  // Floats of its two messages.
  std::int64_t p_size() const { return p_size_; }
  std::int64_t q_size() const { return q_size_; }
  // Doubles that serve() works in.
  std::int64_t room() const { return room_; }
  void reset_residuals(Context& cx);
  // Sends this rank's P, and what travels as it is.
  void send(Context& cx, const Exchange& e);
  // Waits for P, and sends this rank's Q.
  void serve(Context& cx);
  // Waits for Q, and leaves the answer.
  void receive(Context& cx, std::int64_t step);
  void visit_state(StateVisitor& visitor);

 private:
  struct Matrix {
    std::size_t param;
    std::int64_t begin, rows, cols;  // in the bucket
    std::int64_t p, q;               // places of the factors in p_, and in q_ and sent_q_
    std::int64_t room;               // in LowRankShared::room
    std::uint64_t seed;
  };
  // A parameter that travels as it is.
  struct Plain {
    std::int64_t begin, size;  // in the bucket
    std::int64_t at;           // in p_
  };
  // Rows or columns of a matrix: how its work is cut.
  struct Tile {
    std::size_t matrix;
    std::int64_t begin, end;
  };

  void add_param(const Parameter& p, std::size_t index);
  void take_contribution();
  void make_p(const Tile& rows);
  void orthonormalize();
  void make_own_q(const Tile& columns);
  // to = P Q^T, or to -= P Q^T.
  void expand(const Tile& rows, bool subtract, float* to) const;
  void answer(Context& cx, std::int64_t step);
  void draw(std::size_t matrix, std::int64_t k, std::int64_t step);
  void zero_dead(float* x) const;
  template <class F>
  void for_each(const std::vector<Tile>& tiles, const F& f) const;
  std::int64_t rank() const { return shared_.config.rank; }
  float* p(const Matrix& m, std::int64_t k) const { return p_.data<float>() + m.p + k * m.rows; }
  float* q(const Matrix& m, std::int64_t k) const { return q_.data<float>() + m.q + k * m.cols; }

  const FlatBucket& layout_;
  const LowRankShared& shared_;
  std::vector<Matrix> matrices_;
  std::vector<Plain> plain_;
  std::vector<Tile> row_tiles_, column_tiles_;
  std::int64_t p_size_ = 0, q_size_ = 0, room_ = 0;
  Tensor error_;   // f32 [n] of the layout; M during an exchange
  Tensor p_;       // f32: the P, then what travels as it is; the first message
  Tensor q_;       // f32: the Q
  Tensor sent_q_;  // f32: the second message
  WokenParameters woken_parameters_;
  std::vector<std::uint8_t> dependent_;  // by matrix and row of P: nothing in this direction

  // Of the exchange under way.
  Exchange exchange_;
  WorkPtr p_work_, q_work_;
};

}  // namespace gradwire
