// Codecs turn n floats into few bytes and back: what reducers send. A codec is pure: it has no
// communicator, keeps nothing between calls, and writes only into buffers of its caller, which also
// owns residuals (error feedback) and whatever else is carried from step to step. Payloads are
// little-endian and the same, byte for byte, for every instruction set and number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace gradwire {

// Names the random numbers of one call. Codecs with stochastic rounding want another seed on every
// rank, so that errors average out; random-k wants the same on all, so that they send the same
// coordinates.
struct CodecKey {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint64_t tensor = 0;
};

// What to encode. All spans that are not empty have the size of x, `live` one bit for each element.
struct CodecInput {
  std::span<const float> x;
  float weight = 1.0F;  // of x, with a residual only
  // Error feedback: c = weight * x + residual is encoded, and the residual becomes
  // c - decode(encode(c)).
  std::span<float> residual = {};
  // With a residual only: c = beta * momentum + (1 - beta) * weight * x + residual. The momentum
  // itself is not written, since the decoded exchange will replace it.
  std::span<const float> momentum = {};
  float beta = 0.0F;
  // Instead of the momentum, to a codec with blocks: a payload of its own for as many elements,
  // which decodes to it. May be where the new one goes.
  std::span<const std::byte> momentum_code = {};
  // Bit i (little-endian) clear: coordinate i is dead, counts as zero and keeps a zero residual.
  // Random-k does not pick it, and needs the same bits to decode. Top-k without a residual does not
  // look at the bits: what is zero it never sends.
  std::span<const std::byte> live = {};
  // The caller vouches for finite values, for instance because it has just taken their norm: saves
  // a pass over the inputs of a call with a residual.
  bool known_finite = false;
};

// Where decoded values go: to[i] = value, or to[i] += weight * value, rounded after each operation.
struct DecodeTarget {
  std::span<float> to;
  bool add = false;
  float weight = 1.0F;
  std::span<const std::byte> live = {};  // coordinates with a clear bit are left untouched
  // Called with ranges of `to` once they are decoded, by several threads: values[0] is what
  // to[begin] has, or gets right after the call. What has been handed over so is taken for used: it
  // may be stored past the cache.
  std::function<void(std::int64_t begin, std::int64_t end, const float* values)> done = {};
};

class Codec {
 public:
  virtual ~Codec() = default;
  virtual const char* name() const = 0;

  // The size of any payload of n elements; less only if the number of elements sent depends on
  // the data. Error: kUsage unless 0 <= n < 2^31.
  virtual std::size_t max_bytes(std::int64_t n) const = 0;
  // The contraction delta, ||c - q||^2 <= (1 - delta) ||c||^2: of codecs that pick elements what
  // holds for all values, k / n; of those that round what normally distributed values show; 0 if
  // there is none.
  virtual double delta_hint(std::int64_t n) const = 0;
  // Whether a zero arrives as a zero; one bit has none.
  virtual bool keeps_zero() const { return true; }
  // Whether all ranks must use one key for a tensor, because it decides which elements are sent.
  virtual bool shares_key() const { return false; }
  // Whether elements of a payload share a scale, so that large ones spoil small ones.
  virtual bool shares_scales() const { return false; }
  // Whether a payload can be read block by block: what CodecInput::momentum_code needs.
  virtual bool has_blocks() const { return false; }
  // Whether that is faster than reading the floats it stands for.
  virtual bool reads_fast() const { return false; }

  // Returns the bytes written to `out`, which holds at least max_bytes(x.size()).
  // Errors: kNumeric for NaN and infinity, with the residual unchanged. If the inputs are finite
  // but their sum overflows and known_finite is set, part of the residual may have been updated;
  // no NaN or infinity is ever written to it. kUsage for sizes that do not fit.
  std::size_t encode(const CodecInput& in, const CodecKey& key, std::span<std::byte> out) const;
  std::size_t encode(std::span<const float> x, const CodecKey& key, std::span<std::byte> out) const;
  std::size_t encode_with_feedback(std::span<const float> x, std::span<float> residual,
                                   const CodecKey& key, std::span<std::byte> out) const;

  // Bytes after the payload are ignored, so that payloads may travel in slots of max_bytes().
  // Error: kComm for a payload that is not one of this codec for so many elements; nothing is read
  // or written out of bounds, but the target may have been changed in part.
  void decode(std::span<const std::byte> in, std::span<float> to) const;
  void decode_add(std::span<const std::byte> in, float weight, std::span<float> acc) const;
  void decode(std::span<const std::byte> in, const DecodeTarget& target) const;

 private:
  virtual std::size_t do_encode(const CodecInput& in, std::uint64_t stream,
                                std::span<std::byte> out) const = 0;
  virtual void do_decode(std::span<const std::byte> in, const DecodeTarget& target) const = 0;
};

struct CodecConfig {
  std::string name = "sign";  // one of kCodecNames (core/codec_names.h)
  // Elements that share a scale, a multiple of 64 up to 4096; 0 is the codec's own (sign 4096, int8
  // 1024, int4 256, qsgd 512).
  std::int64_t block = 0;
  double ratio = 0.01;  // top-k and random-k: the part of the elements that is sent
  int levels = 7;       // qsgd: 1, 7 or 127, in 2, 4 or 8 bits
};
// Error: kConfig.
std::unique_ptr<Codec> make_codec(const CodecConfig& config);

}  // namespace gradwire
