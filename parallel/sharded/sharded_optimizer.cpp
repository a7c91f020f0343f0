#include "parallel/sharded/sharded_optimizer.h"

#include <utility>

#include "core/error.h"

namespace gradwire {
namespace {

class ShardedOptimizer final : public Optimizer {
 public:
  ShardedOptimizer(Shard& shard, std::unique_ptr<Optimizer> rule)
      : shard_(shard), rule_(std::move(rule)) {}

  StepNeeds needs(bool settle) const override {
    const StepNeeds needs = rule_->needs(settle);
    check(!needs.exchange, ErrorKind::kUsage,
          "sharded optimizer: the rule exchanges more than gradients");
    return needs;
  }

  void apply(Context& cx, const StepInfo& step) override {
    shard_.take_over_empty_gradients();
    rule_->apply(cx, step);
    for (std::size_t b = 0; b < shard_.slices().size(); ++b)
      if (!shard_.is_untouched(b)) shard_.gather(cx, b);
    shard_.wait(cx);
  }

  std::string take_log_message() override { return rule_->take_log_message(); }
  void visit_state(StateVisitor& visitor) override {
    shard_.visit_pieces(visitor, [this](StateVisitor& v) { rule_->visit_state(v); });
  }

 private:
  Shard& shard_;
  std::unique_ptr<Optimizer> rule_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sharded(
    Shard& shard,
    const std::function<std::unique_ptr<Optimizer>(std::span<Parameter* const> pieces)>& make) {
  return std::make_unique<ShardedOptimizer>(shard, make(shard.pieces()));
}

}  // namespace gradwire
