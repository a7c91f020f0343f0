// HDF5 files that somebody made to harm: nothing outside the file is read, no code of others is
// run, and no memory is taken that the file does not account for.
#include <filesystem>
#include <fstream>

#include <hdf5.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "data/hdf5.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;

class Hdf5Hostile : public ::testing::Test {
 protected:
  // An open file that has a dataset of its own, "own".
  hid_t begin() {
    const hid_t file = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    write(file, "own", H5P_DEFAULT);
    return file;
  }
  static void write(hid_t file, const char* name, hid_t properties) {
    const hsize_t size = 4;
    const float values[4] = {1, 2, 3, 4};
    const hid_t space = H5Screate_simple(1, &size, nullptr);
    const hid_t data =
        H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    ASSERT_GE(data, 0);
    H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(data);
    H5Sclose(space);
  }
  std::string path() const { return folder_.file("hostile.h5"); }

  // What reading `name` is refused with.
  std::string refusal(const std::string& name) const {
    const Hdf5File file = Hdf5File::open(path());
    std::vector<float> values(4);
    file.read("own", DType::kF32, {4}, values.data());
    EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4}));
    try {
      file.read(name, DType::kF32, {4}, values.data());
      return "";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kData);
      return e.what();
    }
  }

  test::TempFolder folder_;
};

TEST_F(Hdf5Hostile, SoftLinksAreNotFollowed) {
  const hid_t file = begin();
  H5Lcreate_soft("/own", file, "alias", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(refusal("alias"), HasSubstr("'alias' is a link to another place"));
  EXPECT_FALSE(Hdf5File::open(path()).contains("alias"));
}

TEST_F(Hdf5Hostile, LinksIntoOtherFilesAreNotFollowed) {
  const std::string secret = folder_.file("secret.h5");
  const hid_t other = H5Fcreate(secret.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  write(other, "key", H5P_DEFAULT);
  H5Fclose(other);
  const hid_t file = begin();
  H5Lcreate_external(secret.c_str(), "/key", file, "leak", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external(secret.c_str(), "/", file, "group", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(refusal("leak"), HasSubstr("'leak' is a link to another place"));
  EXPECT_THAT(refusal("group/key"), HasSubstr("'group' is a link to another place"));
}

TEST_F(Hdf5Hostile, ElementsInOtherFilesAreNotRead) {
  std::ofstream(folder_.file("secret.bin")) << "sixteen bytes...";
  const hid_t file = begin();
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(properties, folder_.file("secret.bin").c_str(), 0, 16);
  const hsize_t size = 4;
  const hid_t space = H5Screate_simple(1, &size, nullptr);
  H5Dclose(H5Dcreate2(file, "leak", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Sclose(space);
  H5Pclose(properties);
  H5Fclose(file);
  EXPECT_THAT(refusal("leak"), HasSubstr("its elements are in other files"));
}

TEST_F(Hdf5Hostile, VirtualDatasetsAreNotRead) {
  const hid_t file = begin();
  const hsize_t size = 4;
  const hid_t space = H5Screate_simple(1, &size, nullptr);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_virtual(properties, space, ".", "own", space);
  H5Dclose(H5Dcreate2(file, "leak", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Pclose(properties);
  H5Sclose(space);
  H5Fclose(file);
  EXPECT_THAT(refusal("leak"), HasSubstr("its elements are in other files"));
}

TEST_F(Hdf5Hostile, UnknownFiltersAreNotRun) {
  const hid_t file = begin();
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = 4;
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_nbit(properties);
  write(file, "packed", properties);
  H5Pclose(properties);
  H5Fclose(file);
  EXPECT_THAT(refusal("packed"), HasSubstr("stored by an unknown filter"));
}

// Chunks that were never written take no room in a file, and all in memory.
TEST_F(Hdf5Hostile, MoreElementsThanTheFileCanHoldAreNotRead) {
  const hid_t file = begin();
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = 4;
  H5Pset_chunk(properties, 1, &chunk);
  for (const bool deflated : {false, true}) {
    if (deflated) H5Pset_deflate(properties, 9);
    const hsize_t size = hsize_t{1} << (deflated ? 30 : 20);
    const hid_t space = H5Screate_simple(1, &size, nullptr);
    H5Dclose(H5Dcreate2(file, deflated ? "deflated" : "empty", H5T_IEEE_F32LE, space, H5P_DEFAULT,
                        properties, H5P_DEFAULT));
    H5Sclose(space);
  }
  const hsize_t sizes[2] = {hsize_t{1} << 40, hsize_t{1} << 40};
  const hsize_t chunks[2] = {4, 4};
  H5Pset_chunk(properties, 2, chunks);
  const hid_t space = H5Screate_simple(2, sizes, nullptr);
  H5Dclose(
      H5Dcreate2(file, "endless", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Sclose(space);
  H5Pclose(properties);
  H5Fclose(file);
  EXPECT_THAT(refusal("empty"), HasSubstr("1048576 elements are more than a file of"));
  EXPECT_THAT(refusal("deflated"), HasSubstr("1073741824 elements are more than a file of"));
  EXPECT_THAT(refusal("endless"), HasSubstr("more elements than any file can hold"));
}

TEST_F(Hdf5Hostile, LargeChunksAreNotRead) {
  const hid_t file = begin();
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = hsize_t{1} << 28;
  const hsize_t size = 4, most = H5S_UNLIMITED;
  H5Pset_chunk(properties, 1, &chunk);
  const hid_t space = H5Screate_simple(1, &size, &most);
  H5Dclose(H5Dcreate2(file, "large", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Sclose(space);
  H5Pclose(properties);
  H5Fclose(file);
  EXPECT_THAT(refusal("large"), HasSubstr("chunks of more than 67108864 bytes"));
}

TEST_F(Hdf5Hostile, NamesAreShownInOneLine) {
  const hid_t file = begin();
  H5Lcreate_soft("/own", file, "\x1b[2J\n\xff", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(refusal("\x1b[2J\n\xff"), HasSubstr("'\\x1b[2J\\x0a\\xff' is a link"));
  EXPECT_THAT(refusal("none\n"), HasSubstr("dataset 'none\\x0a': cannot be opened"));
}

// Only newer formats have room for an attribute of that size.
TEST_F(Hdf5Hostile, LongAttributesAreNotRead) {
  constexpr std::size_t kLimit = std::size_t{1} << 20;
  for (const std::size_t size : {kLimit, kLimit + 1}) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    const hid_t file = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    const hid_t space = H5Screate(H5S_SCALAR);
    const std::string text(size, 'a');
    const hid_t attribute = H5Acreate2(file, "text", type, space, H5P_DEFAULT, H5P_DEFAULT);
    ASSERT_GE(attribute, 0);
    H5Awrite(attribute, type, text.data());
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    H5Fclose(file);
    H5Pclose(access);
    const Hdf5File opened = Hdf5File::open(path());
    if (size == kLimit) {
      EXPECT_EQ(opened.string_attribute("text").size(), size);
    } else {
      EXPECT_THROW(opened.string_attribute("text"), Error);
    }
  }
}

}  // namespace
}  // namespace gradwire
