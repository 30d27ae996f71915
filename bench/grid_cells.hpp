// The cells of the grid of bad paths: what each network is, how long it is watched, and what
// goodput it should give.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "response.hpp"

namespace tidewire::bench {

constexpr double kFrameBytes = 1514;    // counts for the rate
constexpr double kPayloadBytes = 1448;  // with timestamps
constexpr double kAckBytes = 66;

/// Impairments of both directions, as the words of a network without `up.` or `down.` say it.
struct Cell {
  double loss_percent = 0;
  double reorder_percent = 0;  ///< delayed by up to a quarter of the RTT
  bool jitter = false;         ///< of up to a quarter of the RTT each way, each packet alone
  double rtt_ms = 0;           ///< without jitter and queue
  double rate_mbit = 0;

  double bdp_bytes() const { return rate_mbit * 1e6 / 8 * rtt_ms / 1e3; }
  std::uint64_t queue_packets() const {
    constexpr double kLeast = 8;
    return static_cast<std::uint64_t>(std::max(kLeast, std::ceil(bdp_bytes() / kFrameBytes)));
  }
  /// Not below what a stack starts with.
  std::uint32_t buffer_bytes() const {
    constexpr double kLeast = 131'072;
    return static_cast<std::uint32_t>(std::max(kLeast, 2 * bdp_bytes()));
  }
  /// Seconds that a segment and its ACK take on average in an empty network.
  double mean_rtt() const {
    const double jitter_ms = jitter ? rtt_ms / 4 : 0;  // an eighth each way
    return (rtt_ms + jitter_ms) / 1e3 + (kFrameBytes + kAckBytes) * 8 / (rate_mbit * 1e6);
  }
  /// Bit/s of text when nothing is lost.
  double payload_rate() const { return rate_mbit * 1e6 * kPayloadBytes / kFrameBytes; }

  ResponsePath path() const {
    const double p = loss_percent / 100;
    // A timeout is at least 200 ms beyond the round trip. ACKs are lost as often as data.
    return {.loss = p,
            .rtt = mean_rtt(),
            .rto = mean_rtt() + 0.2,
            .acked_segments = 2 / (1 - p),
            .most_window = buffer_bytes() / kPayloadBytes};
  }
  /// Bit/s.
  double pftk_rate() const { return pftk(path()) * kPayloadBytes * 8; }
  double cubic_rate() const { return cubic_response(path()) * kPayloadBytes * 8; }
  double formula() const { return std::min(payload_rate(), std::max(pftk_rate(), cubic_rate())); }

  double warm_up_seconds() const { return 20 * rtt_ms / 1e3; }
  /// Together with the warm-up: 30 s, less once 300,000 segments would pass, but 300 round trips.
  double seconds() const {
    const double enough = 300'000 / (formula() / 8 / kPayloadBytes);
    return std::max(300 * rtt_ms / 1e3, std::min(30.0, enough));
  }

  std::string name() const {
    std::ostringstream text;
    text << "loss=" << loss_percent << " reorder=" << reorder_percent << " jitter=" << jitter
         << " rtt=" << rtt_ms << " rate=" << rate_mbit;
    return text.str();
  }
  /// The words of the network.
  std::string words() const {
    const auto micros = [](double ms) {
      return static_cast<std::uint64_t>(std::llround(ms * 1000));
    };
    std::ostringstream text;
    text << "delay=" << micros(rtt_ms / 2) << "us rate=" << rate_mbit
         << "mbit queue=" << queue_packets() << "packets";
    if (loss_percent > 0) text << " loss=" << loss_percent << '%';
    if (reorder_percent > 0) {
      text << " reorder=" << reorder_percent << "% reorder.by=" << micros(rtt_ms / 4) << "us";
    }
    if (jitter) text << " jitter=" << micros(rtt_ms / 4) << "us,reorder";
    return text.str();
  }
};

inline std::vector<Cell> all_cells() {
  std::vector<Cell> cells;
  for (const double loss : {0.0, 0.1, 1.0, 3.0}) {
    for (const double reorder : {0.0, 1.0, 10.0}) {
      for (const bool jitter : {false, true}) {
        for (const double rtt : {1.0, 20.0, 100.0}) {
          for (const double rate : {10.0, 100.0, 1000.0}) {
            cells.push_back({loss, reorder, jitter, rtt, rate});
          }
        }
      }
    }
  }
  return cells;
}

/// True if each word of `filter` is a word of the cell's name: "loss=1 rtt=20".
inline bool matches(const Cell& cell, const std::string& filter) {
  const std::string name = " " + cell.name() + " ";
  std::istringstream words(filter);
  for (std::string word; words >> word;) {
    if (name.find(" " + word + " ") == std::string::npos) return false;
  }
  return true;
}

}  // namespace tidewire::bench
