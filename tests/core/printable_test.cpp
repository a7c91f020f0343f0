#include "core/printable.h"

#include <random>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

TEST(Printable, LeavesTextAlone) {
  for (const char* text : {"", "plain", "two\nlines\tand a tab",
                           "Gr\xc3\xbc\xc3\x9f"
                           "e",
                           "\xe8\xaa\x9e", "\xf0\x9f\x90\x8e"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, EscapesWhatDrivesATerminal) {
  EXPECT_EQ(printable("\x1b[2Jgone"), "\\x1b[2Jgone");
  EXPECT_EQ(printable("bell\a, back\b, return\r, delete\x7f"),
            "bell\\x07, back\\x08, return\\x0d, delete\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\u009b2J");  // CSI as one character
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Printable, EscapesMarksOfDirection) {
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "txt.exe"),
            "\\u202etxt.exe");
  EXPECT_EQ(printable("\xe2\x81\xa6"), "\\u2066");
}

TEST(Printable, EscapesWhatIsNoUtf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                    // cut short
  EXPECT_EQ(printable("\xc0\x80"), "\\xc0\\x80");           // not the shortest form
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(printable(std::string(100, 'a'), 10), "aaaaaaaaaa... (90 bytes more)");
}

TEST(Printable, AWordIsOneLine) {
  EXPECT_EQ(printable_word("model\nwarning: all is well\t\x1b[2J"),
            "model\\x0awarning: all is well\\x09\\x1b[2J");
  EXPECT_EQ(printable_word("\xe2\x80\xae"
                           "fdp.exe\xff"),
            "\\u202efdp.exe\\xff");
  EXPECT_EQ(printable_word(std::string(5000, 'a')),
            std::string(kMostWordBytes, 'a') + "... (904 bytes more)");
  EXPECT_TRUE(is_printable_word("embeddings.\xc3\xa9s"));
  EXPECT_FALSE(is_printable_word("a\nb"));
  EXPECT_FALSE(is_printable_word("aaa", 2));
}

TEST(Printable, ALineIsOneLine) {
  EXPECT_EQ(printable_line("2 problems\nr.toml:1: a\nr.toml:2: \x1b"),
            "2 problems r.toml:1: a r.toml:2: \\x1b");
}

TEST(Printable, OfAnythingIsHarmless) {
  std::mt19937 rng(1);
  for (int i = 0; i < 1000; ++i) {
    std::string text(rng() % 50, '\0');
    for (char& c : text)
      c = static_cast<char>(rng());
    const std::string shown = printable(text);
    EXPECT_EQ(printable(shown), shown);
    for (const char c : shown)
      EXPECT_TRUE(c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= ' ') << shown;
  }
}

}  // namespace
}  // namespace gradwire
