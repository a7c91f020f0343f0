#include "data/corpus.h"

#include <gtest/gtest.h>

#include "tests/data/temp_folder.h"

namespace gradwire {
namespace {

using testing_data::expect_error;
using testing_data::TempFolder;

std::vector<std::string> all(const CorpusConfig& config) {
  Corpus corpus(config);
  std::vector<std::string> documents;
  std::string document;
  while (corpus.next(document))
    documents.push_back(document);
  EXPECT_EQ(corpus.documents(), static_cast<std::int64_t>(documents.size()));
  return documents;
}

TEST(Corpus, BlankLinesEndDocuments) {
  const TempFolder folder;
  const std::string a = folder.write("a.txt", "\n\none\ntwo\n \t\n\nthree");
  const std::string b = folder.write("b.txt",
                                     "\xEF\xBB\xBF"
                                     "four\r\nfive\r\n\r\n");
  EXPECT_EQ(all({.files = {a, b}}), (std::vector<std::string>{"one\ntwo", "three", "four\nfive"}));
}

TEST(Corpus, AFileCanBeADocument) {
  const TempFolder folder;
  const std::string a = folder.write("a.txt", "\none\n\ntwo\n\n");
  const std::string b = folder.write("b.txt", "three\n");
  EXPECT_EQ(all({.files = {a, b}, .document_break = DocumentBreak::kFile}),
            (std::vector<std::string>{"one\n\ntwo", "three"}));
}

TEST(Corpus, RewindsFromAnywhere) {
  const TempFolder folder;
  Corpus corpus({.files = {folder.write("a.txt", "one\n\ntwo\n")}});
  EXPECT_EQ(corpus.bytes(), 9);
  std::string document;
  for (int passes = 0; passes < 2; ++passes) {
    ASSERT_TRUE(corpus.next(document));
    EXPECT_EQ(document, "one");
    corpus.rewind();
  }
  while (corpus.next(document)) {
  }
  EXPECT_EQ(corpus.documents(), 2);
  EXPECT_FALSE(corpus.next(document));
}

TEST(Corpus, FilesWithoutTextAreErrors) {
  const TempFolder folder;
  const std::string good = folder.write("good.txt", "one\n");
  for (const char* text : {"", "\n \n\n"}) {
    const std::string empty = folder.write("empty.txt", text);
    expect_error(ErrorKind::kData, {"empty.txt", "no text"}, [&] { all({.files = {empty}}); });
    expect_error(ErrorKind::kData, {"empty.txt"}, [&] { all({.files = {empty, good}}); });
    expect_error(ErrorKind::kData, {"empty.txt"}, [&] { all({.files = {good, empty}}); });
  }
}

TEST(Corpus, FilesThatCannotBeReadAreErrors) {
  const TempFolder folder;
  expect_error(ErrorKind::kUsage, {"no files"}, [] { Corpus({}); });
  expect_error(ErrorKind::kIo, {"none.txt", "No such file"},
               [&] { Corpus({.files = {folder.file("none.txt")}}); });
  expect_error(ErrorKind::kIo, {folder.file("")}, [&] { Corpus({.files = {folder.file("")}}); });
}

TEST(Corpus, BytesThatAreNotTextAreErrors) {
  const TempFolder folder;
  const std::string latin = folder.write("latin.txt",
                                         "one\n\ngr\xFC\xDF"
                                         "e\n");
  expect_error(ErrorKind::kData, {"latin.txt:3:", "0xfc", "column 3"},
               [&] { all({.files = {latin}}); });
  const std::string zero = folder.write("zero.txt", std::string("a\0b\n", 4));
  expect_error(ErrorKind::kData, {"zero.txt:1:", "0x00", "column 2"},
               [&] { all({.files = {zero}}); });
}

TEST(Corpus, ADocumentMustFitInMemory) {
  const TempFolder folder;
  const std::string a = folder.write("a.txt", "one\ntwo\n\n12345678\n9\n");
  CorpusConfig config{.files = {a}};
  config.max_document_bytes = 9;
  expect_error(ErrorKind::kData, {"a.txt:5:", "more than 9 bytes", "blank line"},
               [&] { all(config); });
}

TEST(Utf8, TellsGoodFromBad) {
  for (const std::string good : {"", "abc", "\xC3\x9F", "\xE2\x82\xAC", "\xED\x9F\xBF",
                                 "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF", "\xE0\xA0\x80"}) {
    EXPECT_EQ(utf8_prefix(good), good.size());
  }
  // Lone and missing continuation, overlong forms, surrogates, beyond the last code point.
  for (const std::string bad :
       {"\x80", "\xC3", "\xC0\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xFF"}) {
    EXPECT_EQ(utf8_prefix("x" + bad), 1u) << ::testing::PrintToString(bad);
  }
}

}  // namespace
}  // namespace gradwire
