// A network that changes on a schedule, as a file tells it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "device/net_spec.hpp"

namespace tidewire::device {

/// What a link is from a time on.
struct NetEvent {
  Duration at;  ///< since the start
  NetSpec spec;
  bool up = true;  ///< false: the cable is out
};

struct Scenario {
  /// Most events after all repetitions.
  static constexpr std::size_t kMostEvents = 100'000;

  NetSpec start;
  std::vector<NetEvent> events;  ///< ascending; each tells everything
};

/// Reads a scenario file (TOML 1.0; docs/scenarios.md has the schema). `name` is for messages. The
/// error is one line: name, line, column, what is wrong and what would be right.
Result<Scenario, std::string> parse_scenario(std::string_view text, const std::string& name,
                                             const FileReader& files = {});

/// Goes through the events of a scenario. For whoever drives a link: a loop or a simulation.
class ScenarioPlayer {
 public:
  ScenarioPlayer(Scenario scenario, Instant start)
      : scenario_(std::move(scenario)), start_(start) {}
  /// When the next event is due; never after the last.
  Instant next() const noexcept {
    return at_ < scenario_.events.size() ? start_ + scenario_.events[at_].at : Instant::never();
  }
  /// The last event that is due by `now` and was not told yet; null: none.
  const NetEvent* due(Instant now) noexcept {
    const NetEvent* last = nullptr;
    while (next() <= now) last = &scenario_.events[at_++];
    return last;
  }

 private:
  Scenario scenario_;
  Instant start_;
  std::size_t at_ = 0;
};

}  // namespace tidewire::device
