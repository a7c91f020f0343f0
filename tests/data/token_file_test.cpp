#include "data/token_file.h"

#include <cmath>

#include <gtest/gtest.h>

#include "data/unigram.h"
#include "tests/data/full_disk.h"
#include "tests/data/temp_folder.h"
#include "tests/data/text.h"

namespace gradwire {
namespace {

using testing_data::counting_file;
using testing_data::expect_error;
using testing_data::flip_bit;
using testing_data::FullDisk;
using testing_data::slurp;
using testing_data::TempFolder;

// A token file of ids 0 1 2 3 4 in documents of 2 and 3, with one thing wrong.
struct Forgery {
  std::int64_t version = 1;
  std::int64_t vocabulary = 10;
  std::int64_t tokens = 5;
  std::int64_t documents = 2;
  std::vector<std::int32_t> ids = {0, 1, 2, 3, 4};
  std::vector<std::int64_t> offsets = {0, 2, 5};
};

std::string forge(const TempFolder& folder, const Forgery& f) {
  Hdf5File out = Hdf5File::create(folder.file("f.h5"));
  out.write("tokens", DType::kI32, {static_cast<std::int64_t>(f.ids.size())}, f.ids.data());
  out.write("offsets", DType::kI64, {static_cast<std::int64_t>(f.offsets.size())},
            f.offsets.data());
  out.set_attribute("format_version", f.version);
  out.set_attribute("vocabulary", f.vocabulary);
  out.set_attribute("tokenizer_hash", to_hex(1));
  out.set_attribute("tokens", f.tokens);
  out.set_attribute("documents", f.documents);
  out.set_attribute("tokens_hash", to_hex(hash_of(std::as_bytes(std::span(f.ids)))));
  out.close();
  return folder.file("f.h5");
}

TEST(TokenFile, VocabulariesThatCannotBeAreRefused) {
  const TempFolder folder;
  for (const std::int64_t vocabulary : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40}) {
    const std::string path = forge(folder, {.vocabulary = vocabulary});
    expect_error(ErrorKind::kData, {"f.h5: a vocabulary of", "not of 1 to 16777216"},
                 [&] { TokenFile::open(path); });
  }
}

TEST(TokenFile, WithoutAnEndOfDocumentsIsRefused) {
  const TempFolder folder;
  const std::string path = forge(folder, {.tokens = 0, .documents = -1, .ids = {}, .offsets = {}});
  expect_error(ErrorKind::kData, {"f.h5: "}, [&] { TokenFile::open(path); });
}

TEST(TokenFile, KeepsDocumentsAndIds) {
  const TempFolder folder;
  // Longer than the buffers and the chunks; vocabularies on both sides of 16 bits.
  for (const std::int64_t vocabulary : {65536, 65537}) {
    const std::string path = counting_file(folder, "a.h5", {3, 0, 200000, 5}, vocabulary);
    const TokenFile in = TokenFile::open(path, 0xABCDu);
    EXPECT_EQ(in.tokens(), 200008);
    EXPECT_EQ(in.documents(), 4);
    EXPECT_EQ(in.vocabulary(), vocabulary);
    EXPECT_EQ(in.tokenizer_hash(), 0xABCDu);
    EXPECT_EQ(in.document(0), (std::pair<std::int64_t, std::int64_t>{0, 3}));
    EXPECT_EQ(in.document(1), (std::pair<std::int64_t, std::int64_t>{3, 3}));
    EXPECT_EQ(in.document(3), (std::pair<std::int64_t, std::int64_t>{200003, 200008}));
    std::vector<std::int32_t> ids(200);
    for (const std::int64_t begin : {0, 16300, 65500, 131000, 199808}) {
      in.read(begin, ids);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        ASSERT_EQ(ids[i], (begin + static_cast<std::int64_t>(i)) % vocabulary);
      }
    }
    in.verify();
    expect_error(ErrorKind::kUsage, {"a.h5"}, [&] { in.read(199900, ids); });
    expect_error(ErrorKind::kUsage, {"a.h5"}, [&] { in.document(4); });
  }
}

TEST(TokenFile, SixteenBitsAreEnoughForSmallVocabularies) {
  const TempFolder folder;
  const std::size_t narrow = slurp(counting_file(folder, "a.h5", {1000000}, 65536)).size();
  const std::size_t wide = slurp(counting_file(folder, "b.h5", {1000000}, 65537)).size();
  EXPECT_LT(narrow, 2100000u);
  EXPECT_GT(wide, 4000000u);
}

TEST(TokenFile, ManyShortDocumentsGoThroughTheBuffer) {
  const TempFolder folder;
  const std::string path =
      counting_file(folder, "a.h5", std::vector<std::int64_t>(150000, 1), 50000);
  const TokenFile in = TokenFile::open(path);
  EXPECT_EQ(in.documents(), 150000);
  EXPECT_EQ(in.document(140000).first, 140000);
  in.verify();
}

TEST(TokenFile, AppearsOnlyWhenFinished) {
  const TempFolder folder;
  {
    TokenFileWriter out(folder.file("a.h5"), {10, 1});
    out.add_document(std::vector<std::int32_t>{1, 2, 3});
  }
  EXPECT_EQ(folder.entries(), 0);
  counting_file(folder, "a.h5", {4}, 10);
  {
    TokenFileWriter out(folder.file("a.h5"), {10, 1});
    expect_error(ErrorKind::kData, {"a.h5", "document 0", "token id 10", "vocabulary of 10"}, [&] {
      out.add_document(std::vector<std::int32_t>{1, 10});
    });
    expect_error(ErrorKind::kData, {"token id -1"},
                 [&] { out.add_document(std::vector<std::int32_t>{-1}); });
  }
  EXPECT_EQ(folder.entries(), 1);
  TokenFile::open(folder.file("a.h5")).verify();
}

TEST(TokenFile, WritingWhereOneCannotIsAnError) {
  const TempFolder folder;
  expect_error(ErrorKind::kUsage, {"a.h5", "vocabulary of 0"}, [&] {
    TokenFileWriter(folder.file("a.h5"), {0, 1});
  });
  expect_error(ErrorKind::kIo, {"no/a.h5"}, [&] {
    TokenFileWriter(folder.file("no/a.h5"), {10, 1});
  });
  for (const rlim_t limit : {100, 2500, 20000, 100000}) {
    expect_error(ErrorKind::kIo, {"a.h5", "File too large"}, [&] {
      const FullDisk full(limit);
      counting_file(folder, "a.h5", {70000}, 10);
    });
  }
  EXPECT_EQ(folder.entries(), 0);
}

TEST(TokenFile, AnotherTokenizerIsAnError) {
  const TempFolder folder;
  const std::string path = counting_file(folder, "a.h5", {4}, 10);
  expect_error(ErrorKind::kData, {"a.h5", "another tokenizer", to_hex(5), to_hex(0xABCD)},
               [&] { TokenFile::open(path, 5u); });
}

TEST(TokenFile, WhatIsNotATokenFileIsAnError) {
  const TempFolder folder;
  expect_error(ErrorKind::kIo, {"none.h5"}, [&] { TokenFile::open(folder.file("none.h5")); });
  expect_error(ErrorKind::kData, {"text.h5", "not an HDF5 file"},
               [&] { TokenFile::open(folder.write("text.h5", "hello")); });
  Hdf5File::create(folder.file("bare.h5")).close();
  expect_error(ErrorKind::kData, {"bare.h5", "not a token file"},
               [&] { TokenFile::open(folder.file("bare.h5")); });
}

TEST(TokenFile, WrongContentIsAnError) {
  const TempFolder folder;
  TokenFile::open(forge(folder, {})).verify();
  const auto refused = [&folder](const Forgery& f, const std::string& named) {
    expect_error(ErrorKind::kData, {"f.h5", named}, [&] { TokenFile::open(forge(folder, f)); });
  };
  refused({.version = 3}, "version 3; this program reads 1 and 2");
  refused({.tokens = 6}, "6 tokens in 2 documents written, 5 in 2 found");
  refused({.documents = 3}, "in 3 documents written");
  refused({.offsets = {1, 2, 5}}, "offset 0 is 1");
  refused({.offsets = {0, 6, 5}}, "offset 1 is 6 after 0");
  refused({.offsets = {0, -1, 5}}, "offset 1 is -1 after 0");
  refused({.documents = 3, .offsets = {0, 4, 2, 5}}, "offset 2 is 2 after 4");
  refused({.offsets = {0, 2, 4}}, "ends at 4 of 5 tokens");

  const TokenFile in = TokenFile::open(forge(folder, {.ids = {0, 1, 10, 3, 4}}));
  std::vector<std::int32_t> ids(3);
  expect_error(ErrorKind::kData, {"f.h5", "token 2 has the id 10", "vocabulary of 10"},
               [&] { in.read(1, ids); });
}

TEST(TokenFile, MissingPartsAreErrors) {
  const TempFolder folder;
  Hdf5File out = Hdf5File::create(folder.file("f.h5"));
  out.set_attribute("format_version", std::int64_t{1});
  out.close();
  expect_error(ErrorKind::kData, {"f.h5", "'tokens'"},
               [&] { TokenFile::open(folder.file("f.h5")); });
  const float x[2] = {};
  Hdf5File other = Hdf5File::create(folder.file("g.h5"));
  other.write("tokens", DType::kF32, {2}, x);
  other.write("offsets", DType::kF32, {2}, x);
  other.set_attribute("format_version", std::int64_t{1});
  other.set_attribute("tokenizer_hash", to_hex(1));
  expect_error(ErrorKind::kData, {"g.h5", "'vocabulary'", "missing"}, [&] {
    other.close();
    TokenFile::open(folder.file("g.h5"));
  });
}

TEST(TokenFile, DamageIsFound) {
  const TempFolder folder;
  const std::string path = counting_file(folder, "a.h5", {40000}, 60000);
  const std::string whole = slurp(path);
  const std::string pattern("\x10\x27\x11\x27\x12\x27", 6);  // 10000 10001 10002
  ASSERT_NE(whole.find(pattern), std::string::npos);
  flip_bit(path, whole.find(pattern));
  const TokenFile in = TokenFile::open(path);
  std::vector<std::int32_t> ids(10);
  in.read(30000, ids);
  expect_error(ErrorKind::kData, {"a.h5", "'tokens'", "rows [9999, 10009)"},
               [&] { in.read(9999, ids); });
  expect_error(ErrorKind::kData, {"a.h5"}, [&] { in.verify(); });
  for (const double share : {0.1, 0.5, 0.99}) {
    folder.write(
        "cut.h5",
        whole.substr(0, static_cast<std::size_t>(share * static_cast<double>(whole.size()))));
    expect_error(ErrorKind::kData, {"cut.h5"}, [&] { TokenFile::open(folder.file("cut.h5")); });
  }
}

TEST(TokenFile, VerifyComparesTheHash) {
  const TempFolder folder;
  const Forgery good;
  const std::string path = forge(folder, good);
  const std::string written = to_hex(hash_of(std::as_bytes(std::span(good.ids))));
  std::string bytes = slurp(path);
  bytes.replace(bytes.find(written), 1, written[0] == '0' ? "1" : "0");
  folder.write("f.h5", bytes);
  const TokenFile in = TokenFile::open(path);
  expect_error(ErrorKind::kData, {"f.h5", "hash", written}, [&] { in.verify(); });
}

TEST(Unigram, PerplexityIsThatOfTheCounts) {
  const TempFolder folder;
  const auto file = [&folder](const char* name, std::int64_t vocabulary,
                              const std::vector<std::int32_t>& ids) {
    TokenFileWriter out(folder.file(name), {vocabulary, 1});
    out.add_document(ids);
    out.finish();
    return TokenFile::open(folder.file(name));
  };
  const TokenFile train = file("train.h5", 4, {0, 0, 0, 1, 1, 2});
  const TokenFile valid = file("valid.h5", 4, {0, 3, 1});
  const double expected = std::pow((4.0 / 10) * (1.0 / 10) * (3.0 / 10), -1.0 / 3);
  EXPECT_NEAR(unigram_perplexity(train, valid), expected, 1e-12 * expected);
  expect_error(ErrorKind::kData, {"train.h5", "other.h5", "5"},
               [&] { unigram_perplexity(train, file("other.h5", 5, {1})); });
  expect_error(ErrorKind::kData, {"empty.h5", "0 tokens"},
               [&] { unigram_perplexity(train, file("empty.h5", 4, {})); });
}

}  // namespace
}  // namespace gradwire
