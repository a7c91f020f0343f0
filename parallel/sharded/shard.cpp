#include "parallel/sharded/shard.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "comm/reducer/reducer.h"
#include "core/error.h"

namespace gradwire {

// Passes everything on, and tensors as slices.
class Shard::PieceVisitor final : public StateVisitor {
 public:
  PieceVisitor(const Shard& shard, StateVisitor& to) : shard_(shard), to_(to) {}

  void tensor(std::string_view name, Tensor& t, Share) override {
    const std::size_t first = name.find('/') + 1, last = name.rfind('/');
    const auto found = shard_.place_of_.find(name.substr(first, last - first));
    if (last < first || found == shard_.place_of_.end()) {
      throw Error(ErrorKind::kInternal,
                  fmt::format("sharded state: '{}' is of no parameter", name));
    }
    to_.slice(name, t, found->second.begin, found->second.full);
  }
  void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t full) override {
    to_.slice(name, t, begin, full);
  }
  void number(std::string_view name, std::int64_t& v, Share share) override {
    to_.number(name, v, share);
  }
  void number(std::string_view name, double& v, Share share) override {
    to_.number(name, v, share);
  }
  void text(std::string_view name, std::string& v, Share share) override {
    to_.text(name, v, share);
  }

 private:
  const Shard& shard_;
  StateVisitor& to_;
};

Shard::Shard(Context& cx, Communicator& comm, std::span<const FlatBucket> whole)
    : Shard(cx, std::vector<Communicator*>(whole.size(), &comm), whole) {}

Shard::Shard(Context& cx, std::vector<Communicator*> comms, std::span<const FlatBucket> whole)
    : comms_(std::move(comms)), whole_(whole.begin(), whole.end()) {
  Context params = cx.in(Segment::kParams);
  for (std::size_t b = 0; b < whole_.size(); ++b) {
    const FlatBucket& bucket = whole_[b];
    if (bucket.numel() % comm(b).size() != 0) {
      throw Error(ErrorKind::kUsage, fmt::format("shard: a bucket of {} elements for {} ranks",
                                                 bucket.numel(), comm(b).size()));
    }
    values_.push_back(Tensor::zeros(params, {bucket.numel()}, DType::kF32));
    for (std::size_t i = 0; i < bucket.params.size(); ++i) {
      const Tensor home = bucket.view_in(values_[b], i);
      copy(cx, home, bucket.params[i]->value);
      bucket.params[i]->value = home;
    }
    add_slice(b);
  }
}

void Shard::add_slice(std::size_t bucket) {
  const FlatBucket& whole = whole_[bucket];
  FlatBucket& slice = slices_.emplace_back();
  slice.flat = own_slice(whole.flat, comm(bucket));
  const Tensor values = own_slice(values_[bucket], comm(bucket));
  const std::int64_t begin = slice_begin(bucket);
  for (std::size_t i = 0; i < whole.params.size(); ++i) {
    const Parameter& p = *whole.params[i];
    const std::int64_t first = whole.begins[i] - begin, full = p.value.numel();
    const std::int64_t from = std::clamp<std::int64_t>(first, 0, slice.numel());
    const std::int64_t to = std::clamp<std::int64_t>(first + full, from, slice.numel());
    Parameter& piece = pieces_.emplace_back();
    piece.name = p.name;
    piece.value = values.slice(from, to);
    piece.grad = slice.flat.slice(from, to);
    piece.grad_empty = false;
    place_of_[piece.name] = {from == to ? 0 : from - first, full};
    slice.params.push_back(&piece);
    slice.begins.push_back(from);
  }
}

std::vector<Parameter*> Shard::pieces() {
  std::vector<Parameter*> all;
  for (Parameter& p : pieces_)
    all.push_back(&p);
  return all;
}

void Shard::take_over_empty_gradients() {
  for (std::size_t b = 0; b < whole_.size(); ++b)
    for (std::size_t i = 0; i < whole_[b].params.size(); ++i)
      slices_[b].params[i]->grad_empty = whole_[b].params[i]->grad_empty;
}

bool Shard::is_untouched(std::size_t bucket) const {
  return std::ranges::all_of(whole_[bucket].params, &Parameter::grad_empty);
}

void Shard::gather(Context& cx, std::size_t bucket) {
  for (Parameter* p : whole_[bucket].params)
    ++p->version;
  if (comm(bucket).size() == 1) return;
  gathers_.push_back(comm(bucket).all_gather(own_slice(values_[bucket], comm(bucket)),
                                             values_[bucket], {cx.stream, Traffic::kParameter}));
}

void Shard::wait(Context& cx) {
  for (const WorkPtr& work : gathers_)
    work->wait(cx.stream);
  gathers_.clear();
}

void Shard::visit_pieces(StateVisitor& to, const std::function<void(StateVisitor&)>& walk) const {
  PieceVisitor pieces(*this, to);
  walk(pieces);
}

}  // namespace gradwire
