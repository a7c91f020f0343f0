#include "parallel/mesh.h"

#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"

namespace gradwire {
namespace {

TEST(MeshShape, EveryRankOfEveryShapeUpTo64HasOnePlace) {
  int shapes = 0;
  for (int data = 1; data <= 64; ++data) {
    for (int pipeline = 1; data * pipeline <= 64; ++pipeline) {
      const MeshShape shape{data, pipeline};
      std::set<std::pair<int, int>> places;
      for (int rank = 0; rank < shape.size(); ++rank) {
        const Coord c = coord_of(rank, shape);
        EXPECT_TRUE(c.data >= 0 && c.data < data && c.pipeline >= 0 && c.pipeline < pipeline);
        EXPECT_EQ(rank_of(c, shape), rank);
        places.emplace(c.data, c.pipeline);
      }
      EXPECT_EQ(places.size(), static_cast<std::size_t>(shape.size()));
      ++shapes;
    }
  }
  EXPECT_EQ(shapes, 280);  // pairs with a product of at most 64
}

TEST(MeshShape, StagesOfAReplicaAreNeighbours) {
  EXPECT_EQ(coord_of(5, {2, 3}), (Coord{1, 2}));
  EXPECT_EQ(rank_of({1, 0}, {2, 3}), 3);
  EXPECT_EQ(to_string(MeshShape{2, 3}), "2 data x 3 pipeline");
}

TEST(MeshShape, PlacesOutsideAreErrors) {
  EXPECT_THROW(coord_of(6, {2, 3}), Error);
  EXPECT_THROW(coord_of(-1, {2, 3}), Error);
  EXPECT_THROW(rank_of({2, 0}, {2, 3}), Error);
  EXPECT_THROW(rank_of({0, 3}, {2, 3}), Error);
}

// Sums of rank numbers over both groups tell who is in them.
void expect_groups(Communicator& world, const MeshShape& shape) {
  Runtime runtime;
  Context& cx = runtime.context();
  const Mesh mesh = make_mesh(world, shape);
  EXPECT_EQ(mesh.here, coord_of(world.rank(), shape));
  EXPECT_EQ(mesh.data->rank(), mesh.here.data);
  EXPECT_EQ(mesh.pipeline->rank(), mesh.here.pipeline);
  const auto sum_over = [&](Communicator& comm) {
    Tensor t = Tensor::from(cx, {1}, std::vector<std::int32_t>{world.rank()});
    comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream);
    return t.host<std::int32_t>()[0];
  };
  int replicas = 0, stages = 0;
  for (int d = 0; d < shape.data; ++d)
    replicas += rank_of({d, mesh.here.pipeline}, shape);
  for (int p = 0; p < shape.pipeline; ++p)
    stages += rank_of({mesh.here.data, p}, shape);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(sum_over(*mesh.data), replicas);
    EXPECT_EQ(sum_over(*mesh.pipeline), stages);
  }
}

TEST(Mesh, GroupsAreReplicasAndStages) {
  for (const MeshShape shape : {MeshShape{1, 1}, MeshShape{3, 1}, MeshShape{1, 3}, MeshShape{2, 3}})
    run_ranks(shape.size(), [&](Communicator& world) { expect_groups(world, shape); });
}

TEST(Mesh, TwoWorldsAtOnceInOneProcess) {
  const auto run = [](MeshShape shape) {
    run_ranks(shape.size(), [&](Communicator& world) { expect_groups(world, shape); });
  };
  const std::jthread other(run, MeshShape{2, 2});
  run({3, 2});
}

TEST(Mesh, TwoShapesAtOnceOverOneWorld) {
  run_ranks(6, [](Communicator& world) {
    const Mesh tall = make_mesh(world, {3, 2});
    const Mesh wide = make_mesh(world, {2, 3});
    EXPECT_EQ(tall.data->size(), wide.pipeline->size());
    expect_groups(world, {6, 1});
  });
}

TEST(Mesh, ShapeMustFitTheWorld) {
  try {
    run_ranks(3, [](Communicator& world) { make_mesh(world, {2, 2}); });
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kConfig);
    // All ranks fail; which does so first is up to the scheduler.
    EXPECT_THAT(e.what(),
                testing::EndsWith(" of 3: mesh: 2 data x 2 pipeline needs 4 ranks, there are 3"));
  }
}

}  // namespace
}  // namespace gradwire
