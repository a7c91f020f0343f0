// Whether compression pays: the time of a step with gradients exchanged as they are, and
// compressed, from what the parts take. Values only; who measured or predicted them is the caller's
// business. The model is that of section 3 of Agarwal et al., "On the utility of gradient
// compression in distributed training systems" (MLSys 2022): computing, what of the exchange
// backward cannot hide, and encoding and decoding. Unlike there, buckets are encoded and decoded
// while others are on their way: of both, the longer counts, and of the shorter one bucket.
#pragma once

#include <string>

namespace gradwire {

struct StepCost {
  double compute_s = 0.0;     // forward, backward and update of a step
  double hidden_s = 0.0;      // of a dense exchange that backward can hide
  double dense_s = 0.0;       // the dense exchange alone
  double compressed_s = 0.0;  // the compressed exchange alone, on the wire
  double codec_s = 0.0;       // encoding, averaging and decoding for it
  double buckets = 1.0;       // into which it is cut

  double dense_step_s() const;
  double compressed_step_s() const;
  // Share of the dense step that compression saves; negative if it costs.
  double gain() const { return 1.0 - compressed_step_s() / dense_step_s(); }
};

// What an exchange takes by itself, before anything is known of the computing around it.
struct ExchangeForecast {
  double dense_s = 0.0;
  double compressed_s = 0.0;
  double codec_s = 0.0;
  double buckets = 1.0;
  double hideable = 0.0;  // the share of the computing behind which a dense exchange can hide
};
StepCost step_cost(const ExchangeForecast& exchange, double compute_s);

// The bandwidth, in bytes per second, at which both exchanges take equally long for a rank that
// sends so many bytes each way; infinite if encoding takes no time.
double break_even_bandwidth(double dense_bytes, double compressed_bytes, double codec_s);

// "a step is predicted to take 1.25 s compressed and 5 s as it is, a gain of 75 %"
std::string prediction_text(const StepCost& cost);

struct Decision {
  bool compress = true;
  std::string why;  // for the log
};
// Compression pays if its gain is at least `least_gain`; it is on in any case if that is 0.
Decision decide(const StepCost& cost, double least_gain);

}  // namespace gradwire
