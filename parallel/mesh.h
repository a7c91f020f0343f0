// The parallel shape as a value, and the communicators that go with it. Ranks of one pipeline are
// neighbours: rank = data * pipeline_size + pipeline, so that stages, which talk most often, share
// a host if they can. Built once, then passed down; several meshes may live in one process.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"

namespace gradwire {

struct MeshShape {
  int data = 1;      // replicas
  int pipeline = 1;  // stages
  int size() const { return data * pipeline; }
  friend bool operator==(const MeshShape&, const MeshShape&) = default;
};
std::string to_string(const MeshShape& s);  // "4 data x 2 pipeline"

struct Coord {
  int data = 0;
  int pipeline = 0;
  friend bool operator==(const Coord&, const Coord&) = default;
};

// Errors: kUsage outside the shape.
Coord coord_of(int rank, const MeshShape& shape);
int rank_of(const Coord& coord, const MeshShape& shape);

struct Mesh {
  MeshShape shape;
  Coord here;
  std::unique_ptr<Communicator> data;            // the replicas of this stage
  std::unique_ptr<Communicator> pipeline;        // the stages of this replica
  std::unique_ptr<Communicator> tied_embedding;  // first and last stages of all replicas; else null
};
// Collective over `world`, which must outlive the mesh. Errors: kConfig if the shape does not
// have as many ranks as the world.
Mesh make_mesh(Communicator& world, const MeshShape& shape);

}  // namespace gradwire
