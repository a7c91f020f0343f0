#include "data/hdf5.h"

#include <cstring>
#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "tests/data/full_disk.h"
#include "tests/data/temp_folder.h"

namespace gradwire {
namespace {

using testing_data::expect_error;
using testing_data::flip_bit;
using testing_data::FullDisk;
using testing_data::slurp;
using testing_data::TempFolder;

std::vector<float> ramp(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.5f);
  return values;
}

template <class T>
void round_trip(DType dtype, const std::vector<T>& values, const Shape& shape) {
  const TempFolder folder;
  const std::string path = folder.file("a.h5");
  Hdf5File out = Hdf5File::create(path);
  out.write("group/x", dtype, shape, values.data());
  out.close();
  const Hdf5File in = Hdf5File::open(path);
  EXPECT_EQ(in.shape("group/x"), shape);
  EXPECT_EQ(in.dtype("group/x"), dtype);
  std::vector<T> back(values.size());
  in.read("group/x", dtype, shape, back.data());
  if (values.empty()) return;
  EXPECT_EQ(0, std::memcmp(back.data(), values.data(), values.size() * sizeof(T)));
}

TEST(Hdf5, EveryElementTypeSurvives) {
  round_trip<float>(DType::kF32, {1.5f, -0.0f, 3e-39f, 4, 5, 6}, {2, 3});
  round_trip<double>(DType::kF64, {1.0 / 3, 2}, {2});
  round_trip<std::int32_t>(DType::kI32, {-1, 1 << 30}, {2, 1});
  round_trip<std::int64_t>(DType::kI64, {std::int64_t{1} << 60}, {1});
  round_trip<std::uint8_t>(DType::kU8, {0, 255, 7}, {3});
  round_trip<std::uint16_t>(DType::kBf16, {0x3F80, 0xC000, 0x0001, 0x7F7F}, {4});
}

TEST(Hdf5, ScalarsAndEmptyDatasetsSurvive) {
  round_trip<float>(DType::kF32, {2.5f}, {});
  round_trip<float>(DType::kF32, {}, {0, 4});
}

TEST(Hdf5, DatasetsLargerThanAChunkSurvive) {
  round_trip(DType::kF32, ramp(3 * 700001), {3, 700001});
  round_trip(DType::kF32, ramp(1000 * 999), {1000, 3, 333});
}

TEST(Hdf5, RowsAreReadWhereAsked) {
  const TempFolder folder;
  const std::vector<float> values = ramp(600000 * 3);
  Hdf5File out = Hdf5File::create(folder.file("a.h5"));
  out.write("x", DType::kF32, {600000, 3}, values.data());
  out.close();
  const Hdf5File in = Hdf5File::open(folder.file("a.h5"));
  const Hdf5Dataset data = in.dataset("x");
  std::vector<float> rows(7 * 3);
  data.read_rows(349520, 7, rows.data());
  EXPECT_EQ(rows, std::vector<float>(values.begin() + 349520 * 3, values.begin() + 349527 * 3));
  data.read_rows(600000, 0, rows.data());
  expect_error(ErrorKind::kUsage, {"a.h5", "'x'", "[599999, 600001)"},
               [&] { data.read_rows(599999, 2, rows.data()); });
  expect_error(ErrorKind::kUsage, {"'x'"}, [&] { data.read_rows(-1, 2, rows.data()); });
}

TEST(Hdf5, AGrowingDatasetKeepsWhatWasAppended) {
  const TempFolder folder;
  Hdf5File out = Hdf5File::create(folder.file("a.h5"));
  GrowingLayout layout;
  layout.chunk_elements = 16;
  layout.stored_as_u16 = true;
  Hdf5Dataset ids = out.create_growing("ids", layout);
  std::vector<std::int32_t> all;
  for (std::int32_t i = 0; i < 100; ++i) {
    const std::vector<std::int32_t> part(static_cast<std::size_t>(i % 7), 65535 - i);
    ids.append(static_cast<std::int64_t>(part.size()), part.data());
    all.insert(all.end(), part.begin(), part.end());
  }
  out.close();
  const Hdf5File in = Hdf5File::open(folder.file("a.h5"));
  std::vector<std::int32_t> back(all.size());
  in.read("ids", DType::kI32, {static_cast<std::int64_t>(all.size())}, back.data());
  EXPECT_EQ(back, all);
}

TEST(Hdf5, AttributesSurvive) {
  const TempFolder folder;
  Hdf5File out = Hdf5File::create(folder.file("a.h5"));
  out.set_attribute("step", std::int64_t{-42});
  out.set_attribute("rate", 0.1);
  out.set_attribute("name", std::string("größe"));
  out.set_attribute("none", std::string());
  out.close();
  const Hdf5File in = Hdf5File::open(folder.file("a.h5"));
  EXPECT_EQ(in.int_attribute("step"), -42);
  EXPECT_EQ(in.double_attribute("rate"), 0.1);
  EXPECT_EQ(in.string_attribute("name"), "größe");
  EXPECT_EQ(in.string_attribute("none"), "");
  EXPECT_TRUE(in.has_attribute("step"));
  EXPECT_FALSE(in.has_attribute("steps"));
  expect_error(ErrorKind::kData, {"a.h5", "'steps'", "missing"},
               [&] { in.int_attribute("steps"); });
  expect_error(ErrorKind::kData, {"a.h5", "'rate'", "integer"}, [&] { in.int_attribute("rate"); });
  expect_error(ErrorKind::kData, {"'step'", "float"}, [&] { in.double_attribute("step"); });
  expect_error(ErrorKind::kData, {"'step'", "string"}, [&] { in.string_attribute("step"); });
}

TEST(Hdf5, NamesAreListedSorted) {
  const TempFolder folder;
  const float x = 1;
  Hdf5File out = Hdf5File::create(folder.file("a.h5"));
  for (const char* name : {"b/y", "a.weight", "b/x"})
    out.write(name, DType::kF32, {1}, &x);
  EXPECT_EQ(out.dataset_names(), (std::vector<std::string>{"a.weight", "b/x", "b/y"}));
  EXPECT_TRUE(out.contains("b/x"));
  EXPECT_FALSE(out.contains("b"));
  expect_error(ErrorKind::kIo, {"a.h5", "'b/x'"}, [&] { out.write("b/x", DType::kF32, {1}, &x); });
}

TEST(Hdf5, TheSameContentGivesTheSameBytes) {
  const TempFolder folder;
  for (const char* name : {"a.h5", "b.h5"}) {
    const std::vector<float> values = ramp(5000);
    Hdf5File out = Hdf5File::create(folder.file(name));
    out.write("x", DType::kF32, {5000}, values.data());
    out.set_attribute("step", std::int64_t{1});
    out.close();
  }
  EXPECT_EQ(slurp(folder.file("a.h5")), slurp(folder.file("b.h5")));
}

TEST(Hdf5, ReadingWhatIsNotThereSaysSo) {
  const TempFolder folder;
  expect_error(ErrorKind::kIo, {"none.h5", "No such file"},
               [&] { Hdf5File::open(folder.file("none.h5")); });
  expect_error(ErrorKind::kData, {"text.h5", "not an HDF5 file"},
               [&] { Hdf5File::open(folder.write("text.h5", "hello")); });
  expect_error(ErrorKind::kIo, {"no/a.h5", "No such file"},
               [&] { Hdf5File::create(folder.file("no/a.h5")); });
  const float x = 1;
  Hdf5File out = Hdf5File::create(folder.file("a.h5"));
  out.write("x", DType::kF32, {1}, &x);
  out.close();
  const Hdf5File in = Hdf5File::open(folder.file("a.h5"));
  expect_error(ErrorKind::kData, {"a.h5", "'y'"}, [&] { in.dataset("y"); });
  float y[2];
  expect_error(ErrorKind::kData, {"'x'", "f32 [2] asked for, f32 [1] found"},
               [&] { in.read("x", DType::kF32, {2}, y); });
  expect_error(ErrorKind::kData, {"f64 [1] asked for"}, [&] { in.read("x", DType::kF64, {1}, y); });
}

TEST(Hdf5, DamageIsFound) {
  const TempFolder folder;
  const std::string path = folder.file("a.h5");
  const std::vector<float> values = ramp(10000);
  Hdf5File out = Hdf5File::create(path);
  out.write("x", DType::kF32, {10000}, values.data());
  out.close();
  const std::string whole = slurp(path);
  const std::string bytes(reinterpret_cast<const char*>(values.data() + 500), 64);
  flip_bit(path, whole.find(bytes));
  std::vector<float> back(10000);
  expect_error(ErrorKind::kData, {"a.h5", "'x'"},
               [&] { Hdf5File::open(path).read("x", DType::kF32, {10000}, back.data()); });
  folder.write("a.h5", whole.substr(0, whole.size() * 7 / 10));
  expect_error(ErrorKind::kData, {"a.h5"}, [&] { Hdf5File::open(path); });
}

TEST(Hdf5, AFullDiskIsAnErrorWhereverItIsMet) {
  const TempFolder folder;
  const std::vector<float> values = ramp(1 << 20);
  // Large enough for the raw data or not, for the metadata or not: some step refuses, each time.
  for (const rlim_t limit : {100, 1000, 3000, 100000, 4194304, 4196000}) {
    expect_error(ErrorKind::kIo, {"a.h5"}, [&] {
      const FullDisk full(limit);
      Hdf5File out = Hdf5File::create(folder.file("a.h5"));
      Hdf5Dataset ids = out.create_growing("ids", {});
      ids.append(1 << 20, values.data());
      out.set_attribute("step", std::int64_t{1});
      out.close();
    });
  }
  // A dataset and a file that are only let go of have nobody to tell, and must not crash.
  for (const rlim_t limit : {100, 1000, 3000}) {
    const FullDisk full(limit);
    Hdf5File out = Hdf5File::create(folder.file("a.h5"));
    Hdf5Dataset ids = out.create_growing("ids", {});
    ids.append(1000, values.data());
  }
  // Nothing of those files is left in the library: this one works.
  Hdf5File out = Hdf5File::create(folder.file("a.h5"));
  out.close();
  EXPECT_TRUE(Hdf5File::open(folder.file("a.h5")).dataset_names().empty());
}

TEST(Hdf5, NothingIsPrinted) {
  const TempFolder folder;
  const std::string text = folder.write("text.h5", "hello");
  ::testing::internal::CaptureStderr();
  std::thread([&] { EXPECT_THROW(Hdf5File::open(text), Error); }).join();
  EXPECT_THROW(Hdf5File::open(text), Error);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace gradwire
