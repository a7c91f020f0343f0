#include "comm/proof.h"

#include <string>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

std::string bytes(int count, unsigned char value) {
  return std::string(static_cast<std::size_t>(count), static_cast<char>(value));
}

// RFC 4231, section 4: all test cases for HMAC-SHA-256. Of case 5 it gives the first 128 bits.
TEST(Proof, HmacGivesTheCodesOfRfc4231) {
  std::string counted;
  for (char c = 1; c <= 25; ++c)
    counted += c;
  const struct {
    std::string key, message, code;
  } cases[] = {
      {bytes(20, 0x0b), "Hi There",
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {"Jefe", "what do ya want for nothing?",
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {bytes(20, 0xaa), bytes(50, 0xdd),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {counted, bytes(50, 0xcd),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {bytes(20, 0x0c), "Test With Truncation", "a3b6167473100ee06e0c796c2955552b"},
      {bytes(131, 0xaa), "Test Using Larger Than Block-Size Key - Hash Key First",
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {bytes(131, 0xaa),
       "This is a test using a larger than block-size key and a larger than block-size data. The "
       "key needs to be hashed before being used by the HMAC algorithm.",
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(to_hex(hmac_sha256(c.key, c.message)).substr(0, c.code.size()), c.code) << c.message;
}

TEST(Proof, IsBoundToEachPart) {
  EXPECT_TRUE(same_digest(prove("k", {"a", "b"}), prove("k", {"a", "b"})));
  EXPECT_FALSE(same_digest(prove("k", {"a", "b"}), prove("k", {"ab", ""})));
  EXPECT_FALSE(same_digest(prove("k", {"a", "b"}), prove("l", {"a", "b"})));
  EXPECT_FALSE(same_digest(make_nonce(), make_nonce()));
  const Digest digest = prove("", {"x"});
  EXPECT_EQ(digest_from_hex(to_hex(digest)), digest);
  for (const char* bad : {"", "00", "zz"})
    EXPECT_EQ(digest_from_hex(bad), std::nullopt);
}

}  // namespace
}  // namespace gradwire
