// `--print`: a line for each packet, with retransmissions, state changes and drops marked.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/trace.hpp"
#include "report/recorder.hpp"
#include "wire/frame.hpp"

namespace tidewire::report {

/// Packets appear when they are put on the link, in the order in which that happens. Why one was
/// sent again is known from the traces of the same turn, so lines wait for the end of the turn.
/// Register it with the driver after the recorder. In the driver's thread.
class LinePrinter final : public runtime::Task {
 public:
  using Output = std::function<void(const std::string& line)>;

  LinePrinter(Recorder& recorder, Instant origin, Output output);
  ~LinePrinter();
  LinePrinter(const LinePrinter&) = delete;
  LinePrinter& operator=(const LinePrinter&) = delete;

  /// A wire packet that `side` sends.
  void on_packet(Side side, Medium medium, Bytes frame, Instant now);
  /// What the link did to a packet of this turn, for example "lost".
  void on_impact(Bytes frame, const std::string& what, std::uint32_t flow, std::uint64_t ordinal);

  Instant next_deadline() override { return Instant::never(); }
  void run(Instant) override {}
  void after_turn(Instant now) override;

 private:
  struct SegmentKey {
    Side side;
    Endpoint from, to;
    std::uint32_t seq;
    friend auto operator<=>(const SegmentKey&, const SegmentKey&) = default;
  };
  struct Line {
    Instant at;
    std::string text;
    bool is_packet = false;
    bool is_segment = false;
    SegmentKey key{};
    std::uint64_t frame_hash = 0;
    std::string marks;
  };

  void on_record(Side side, const TraceRecord& record, const Endpoint& local,
                 const Endpoint& remote);

  Recorder& recorder_;
  Instant origin_;
  Output output_;
  std::vector<Line> lines_;
  std::multimap<SegmentKey, LossCause> retransmissions_;
};

}  // namespace tidewire::report
