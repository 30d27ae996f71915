// Everything that is told about a run when it has ended.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/counters.hpp"
#include "report/flow.hpp"

namespace tidewire::report {

/// Changes whenever a member of the JSON form changes its name, type or meaning; new members do not
/// count. docs/recording-schema.md describes it.
inline constexpr int kSchemaVersion = 1;

struct LinkImpact {
  std::string what;  ///< "lost", "queue full", "reordered" ...
  bool drop = false;
  std::uint64_t packets = 0;
};

/// One packet the link did something to.
struct LinkEvent {
  Duration at;  ///< since the start of the run
  std::string what;
  std::uint32_t flow_number = 0;  ///< the n-th flow towards its destination
  std::uint64_t ordinal = 0;      ///< the n-th packet of the flow in this direction
};

struct LinkDirectionReport {
  std::uint64_t packets = 0, bytes = 0, delivered = 0, dropped = 0;
  std::vector<LinkImpact> impacts;
  std::vector<LinkEvent> events;  ///< the first ones
  std::uint64_t events_total = 0;
};

/// The network was described anew under way.
struct NetChange {
  Duration at;  ///< since the start of the run
  std::string net;
  bool up = true;  ///< false: the cable is out
};

struct RunReport {
  std::string version;
  std::vector<std::string> command;  ///< the program and its arguments
  std::string net;
  std::uint64_t seed = 0;
  std::string backend;
  std::string congestion_control;
  std::int64_t started_wall_nanos = 0;  ///< since 1970
  Instant started;
  Duration duration;
  int exit_status = 0;
  std::deque<FlowRecord> flows;
  std::uint64_t flows_not_recorded = 0;
  std::vector<NetChange> net_changes;  ///< the first ones
  LinkDirectionReport up, down;
  Counters host, gateway;
};

/// The closing words on standard error: a few lines however many flows there were.
std::string summary(const RunReport& report, std::size_t flows_shown = 12);
/// The same and more for programs.
std::string to_json(const RunReport& report);

/// "tcp" and so on.
std::string_view name_of(Protocol protocol) noexcept;
/// "3 by RTO, 1 by duplicate ACKs"; empty if nothing was sent again.
std::string retransmission_causes(const FlowDirection& direction);
std::string_view describe(LossCause cause) noexcept;
/// "3 by timestamps, 1 by D-SACK"; empty if no reduction was taken back.
std::string undo_causes(const FlowDirection& direction);
std::string_view describe(UndoCause cause) noexcept;

}  // namespace tidewire::report
