// What tests of compressed reducers share: buckets with gaps, made-up contributions, and state that
// is kept by rank, merged as a checkpoint merges it, and put back on any number of ranks.
#pragma once

#include <cmath>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "core/rng.h"

namespace gradwire::test {

// Buckets of parameters a, b, c, ..., with gaps between them.
class Buckets {
 public:
  Buckets(Context& cx, const std::vector<std::vector<Shape>>& shapes) {
    for (const std::vector<Shape>& bucket : shapes) {
      layout.emplace_back();
      std::int64_t end = 0;
      for (const Shape& shape : bucket) {
        const std::int64_t begin = (end + 15) / 16 * 16;
        add(cx, shape, begin);
        end = begin + shape.numel();
      }
      layout.back().flat = Tensor::zeros(cx, {end}, DType::kF32);
    }
  }
  // Two: parameters of `first` and 17 elements, and one of 50.
  Buckets(Context& cx, std::int64_t first) : Buckets(cx, {{{first}, {17}}, {{50}}}) {}

  // Normal numbers of a rank and step; zero in the gaps.
  void fill_values(int rank, std::int64_t step, double scale = 1.0) {
    for (std::size_t b = 0; b < layout.size(); ++b) {
      const FlatBucket& bucket = layout[b];
      for (std::size_t i = 0; i < bucket.params.size(); ++i) {
        float* const x = bucket.flat.host<float>().data() + bucket.begins[i];
        const std::uint64_t seed = derive_seed(
            derive_seed(static_cast<std::uint64_t>(rank), static_cast<std::uint64_t>(step)),
            bucket.params[i]->name);
        for (std::int64_t j = 0; j < bucket.params[i]->value.numel(); ++j) {
          const auto at = static_cast<std::uint64_t>(j);
          const double u = 1.0 - to_uniform(random_word(seed, 2 * at));
          const double v = to_uniform(random_word(seed, 2 * at + 1));
          x[j] = static_cast<float>(scale * std::sqrt(-2.0 * std::log(u)) *
                                    std::cos(6.283185307179586 * v));
        }
      }
    }
  }
  std::vector<float> values(std::size_t bucket) const {
    const auto all = layout[bucket].flat.host<float>();
    return {all.begin(), all.end()};
  }

  std::vector<FlatBucket> layout;

 private:
  void add(Context& cx, const Shape& shape, std::int64_t begin) {
    Parameter& p = owned_.emplace_back();
    p.name = std::string(1, static_cast<char>('a' + owned_.size() - 1));
    p.value = Tensor::zeros(cx, shape, DType::kF32);
    layout.back().params.push_back(&p);
    layout.back().begins.push_back(begin);
  }
  std::deque<Parameter> owned_;
};

// All state of one rank.
struct SavedState {
  struct Slice {
    std::int64_t begin, full;
    std::vector<float> elements;
  };
  std::map<std::string, std::vector<float>> means;
  std::map<std::string, std::vector<std::uint8_t>> bytes;
  std::map<std::string, std::vector<float>> replicated;
  std::map<std::string, Slice> slices;
  std::map<std::string, double> numbers;
};

class StateSaver final : public StateVisitor {
 public:
  explicit StateSaver(SavedState& state) : state_(state) {}
  void tensor(std::string_view name, Tensor& t, Share share) override {
    const std::string key(name);
    if (t.dtype() == DType::kU8) {
      state_.bytes[key].assign(t.host<std::uint8_t>().begin(), t.host<std::uint8_t>().end());
    } else {
      (share == Share::kMean ? state_.means : state_.replicated)[key] = elements(t);
    }
  }
  void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t full) override {
    state_.slices[std::string(name)] = {begin, full, elements(t)};
  }
  void number(std::string_view name, std::int64_t& v, Share) override {
    state_.numbers[std::string(name)] = static_cast<double>(v);
  }
  void number(std::string_view name, double& v, Share) override {
    state_.numbers[std::string(name)] = v;
  }
  void text(std::string_view name, std::string&, Share) override { FAIL() << name; }

 private:
  static std::vector<float> elements(const Tensor& t) {
    return {t.host<float>().begin(), t.host<float>().end()};
  }
  SavedState& state_;
};

// Puts back what `all` ranks saved; with another number of ranks, means and new cuts of slices.
class StateLoader final : public StateVisitor {
 public:
  StateLoader(const std::vector<SavedState>& all, int rank, int ranks)
      : all_(all), own_(static_cast<int>(all.size()) == ranks ? rank : -1) {}
  void tensor(std::string_view name, Tensor& t, Share share) override {
    const std::string key(name);
    if (t.dtype() == DType::kU8) {
      std::copy_n(all_[0].bytes.at(key).begin(), t.numel(), t.host<std::uint8_t>().begin());
      return;
    }
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      double value = all_[0].replicated.count(key) > 0 ? all_[0].replicated.at(key)[at] : 0.0;
      if (share == Share::kMean && own_ >= 0) {
        value = all_[static_cast<std::size_t>(own_)].means.at(key)[at];
      } else if (share == Share::kMean) {
        for (const SavedState& s : all_)
          value += static_cast<double>(s.means.at(key)[at]) / static_cast<double>(all_.size());
      }
      t.host<float>()[at] = static_cast<float>(value);
    }
  }
  void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t full) override {
    std::vector<float> whole(static_cast<std::size_t>(full), NAN);
    for (const SavedState& s : all_) {
      const SavedState::Slice& part = s.slices.at(std::string(name));
      EXPECT_EQ(part.full, full);
      std::copy(part.elements.begin(), part.elements.end(), whole.begin() + part.begin);
    }
    for (const float x : whole)
      EXPECT_TRUE(std::isfinite(x)) << name << " has gaps";
    std::copy_n(whole.begin() + begin, t.numel(), t.host<float>().begin());
  }
  void number(std::string_view name, std::int64_t& v, Share) override {
    v = static_cast<std::int64_t>(all_[0].numbers.at(std::string(name)));
  }
  void number(std::string_view name, double& v, Share share) override {
    const std::size_t from =
        share == Share::kMean && own_ >= 0 ? static_cast<std::size_t>(own_) : 0;
    v = all_[from].numbers.at(std::string(name));
  }
  void text(std::string_view name, std::string&, Share) override { FAIL() << name; }

 private:
  const std::vector<SavedState>& all_;
  int own_;
};

}  // namespace gradwire::test
