// What a loss rate allows a TCP sender, by formula: what goodput on bad paths is held against.
#pragma once

#include <algorithm>
#include <cmath>

namespace tidewire::bench {

/// A path as the formulas see it. Rates are in segments per second.
struct ResponsePath {
  double loss = 0;                ///< probability that a data segment is lost
  double rtt = 0;                 ///< seconds
  double rto = 0;                 ///< seconds, the first timeout
  double acked_segments = 2;      ///< that an ACK which arrives stands for (b; delayed ACKs: 2)
  double most_window = INFINITY;  ///< segments that the receiver allows
};

/// The full model of Padhye, Firoiu, Towsley and Kurose, which counts what is sent, losses
/// included.
inline double pftk(const ResponsePath& path) {
  const double p = path.loss;
  const double b = path.acked_segments;
  if (p <= 0) return path.most_window / path.rtt;
  const double q = 1 - p;
  const double x = (2 + b) / (3 * b);
  const double unlimited = x + std::sqrt(8 * q / (3 * b * p) + x * x);
  const double w = std::min(unlimited, path.most_window);
  const double q3 = q * q * q;
  const double timeouts =
      std::min(1.0, (1 - q3) * (1 + q3 * (1 - std::pow(q, w - 3))) / (1 - std::pow(q, w)));
  const double back_off = 1 + p * (1 + p * (2 + p * (4 + p * (8 + p * (16 + 32 * p)))));
  const double rounds = unlimited < path.most_window ? b / 2 * w + 1 : b / 8 * w + q / (p * w) + 2;
  return (q / p + w + timeouts / q) / (path.rtt * rounds + timeouts * back_off * path.rto / q);
}

/// CUBIC's average window by RFC 9438 §5.1 with C = 0.4 and β = 0.7, over the round trip.
inline double cubic_response(const ResponsePath& path) {
  if (path.loss <= 0) return path.most_window / path.rtt;
  const double window =
      std::pow(0.4 * 3.7 / (4 * 0.3), 0.25) * std::pow(path.rtt / path.loss, 0.75);
  return std::min(window, path.most_window) / path.rtt;
}

}  // namespace tidewire::bench
