#include "core/file.h"

#include <sstream>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

TEST(ReadText, OfAtMostSoManyBytes) {
  const test::TempFolder folder;
  const std::string text(200000, 'a');
  const std::string path = folder.write("a.txt", text);
  EXPECT_EQ(read_text(path), text);
  EXPECT_EQ(read_text(path, text.size()), text);
  test::expect_error(ErrorKind::kData, "a.txt: longer than 199999 bytes",
                     [&] { read_text(path, text.size() - 1); });
  test::expect_error(ErrorKind::kData, "/dev/zero: longer than 1000 bytes",
                     [&] { read_text("/dev/zero", 1000); });
}

TEST(NextLine, GivesWhatGetlineGives) {
  for (const std::size_t length : {0, 1, 4094, 4095, 4096, 9000}) {
    const std::string line(length, 'x');
    for (const std::string text : {"", "\n", "\n\n", "\na", "\n\nb\n"}) {
      std::istringstream one(line + text), other(line + text);
      std::string expected, found;
      while (std::getline(one, expected)) {
        ASSERT_TRUE(next_line(other, found, 10000));
        EXPECT_EQ(found, expected);
        EXPECT_EQ(other.eof(), one.eof());
      }
      EXPECT_FALSE(next_line(other, found, 10000));
    }
  }
}

TEST(NextLine, StopsInALineThatIsTooLong) {
  std::istringstream in(std::string(10000, 'x') + "\nb\n");
  std::string line;
  ASSERT_TRUE(next_line(in, line, 9998));
  EXPECT_EQ(line, std::string(9999, 'x'));
  ASSERT_TRUE(next_line(in, line, 9998));
  EXPECT_EQ(line, "x");
  ASSERT_TRUE(next_line(in, line, 1));
  EXPECT_EQ(line, "b");
  EXPECT_FALSE(next_line(in, line, 1));
}

}  // namespace
}  // namespace gradwire
