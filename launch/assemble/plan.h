// What a recipe will cost, worked out before anything is allocated: parameters, memory of a rank,
// the batch, the bytes of a step. Printed by `train --dry-run` and at the start of a run.
#pragma once

#include <cstdint>
#include <string>

#include "launch/start/device.h"
#include "launch/start/environment.h"
#include "parallel/mesh.h"

#include "jobs/job.h"
#include "recipe/recipe.h"

namespace gradwire {

// Bytes of one rank. An estimate: activations are those of one micro-batch at the end of its
// forward pass, which is where they peak.
struct MemoryPlan {
  std::int64_t params = 0;
  std::int64_t grads = 0;
  std::int64_t optim = 0;
  std::int64_t activations = 0;
  std::int64_t total() const { return params + grads + optim + activations; }
};

struct Plan {
  std::int64_t parameters = 0;
  std::int64_t trained = 0;         // of those
  std::int64_t count_per_step = 0;  // of what speed is measured in, such as tokens
  std::int64_t accumulation = 1;
  std::int64_t wire_bytes_per_step = 0;  // sent by a rank, dense f32: 2 (n-1)/n of the gradients
  MemoryPlan memory;                     // of the rank that needs most
  double bubble_share = 0.0;             // of a pipeline whose stages cost the same
  std::int64_t boundary_bytes_per_step = 0;  // sent by a stage in the middle
};

// If a pipeline's cut is to be measured, it is taken to be even.
Plan make_plan(const Recipe& recipe, const ModelOutline& model, const MeshShape& shape);
// Errors: kConfig if the ranks that share this memory need more than they may use there.
void check_fits(const Plan& plan, const DeviceRoom& room);
// The same for where this rank computes, for a command that trains nothing: the parameters alone.
void check_weights_fit(const Recipe& recipe, const RankEnvironment& env);
std::string to_text(const Plan& plan, const Recipe& recipe, const ModelOutline& model,
                    const MeshShape& shape);

}  // namespace gradwire
