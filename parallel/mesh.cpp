#include "parallel/mesh.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

std::string to_string(const MeshShape& s) {
  return fmt::format("{} data x {} pipeline", s.data, s.pipeline);
}

Coord coord_of(int rank, const MeshShape& shape) {
  if (rank < 0 || rank >= shape.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("mesh: rank {} of {}", rank, to_string(shape)));
  }
  return {rank / shape.pipeline, rank % shape.pipeline};
}

int rank_of(const Coord& coord, const MeshShape& shape) {
  if (coord.data < 0 || coord.data >= shape.data || coord.pipeline < 0 ||
      coord.pipeline >= shape.pipeline) {
    throw Error(ErrorKind::kUsage, fmt::format("mesh: place ({}, {}) of {}", coord.data,
                                               coord.pipeline, to_string(shape)));
  }
  return coord.data * shape.pipeline + coord.pipeline;
}

Mesh make_mesh(Communicator& world, const MeshShape& shape) {
  if (shape.data < 1 || shape.pipeline < 1 || shape.size() != world.size()) {
    throw Error(ErrorKind::kConfig, fmt::format("mesh: {} needs {} ranks, there are {}",
                                                to_string(shape), shape.size(), world.size()));
  }
  Mesh mesh{shape, coord_of(world.rank(), shape), nullptr, nullptr, nullptr};
  mesh.data = world.split(mesh.here.pipeline, mesh.here.data);
  mesh.pipeline = world.split(mesh.here.data, mesh.here.pipeline);
  if (shape.pipeline > 1) {
    const bool end = mesh.here.pipeline == 0 || mesh.here.pipeline == shape.pipeline - 1;
    mesh.tied_embedding = world.split(end ? 0 : -1, world.rank());
  }
  return mesh;
}

}  // namespace gradwire
