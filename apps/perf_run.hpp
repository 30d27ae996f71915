// What one stack does in `tidewire perf`: its connections as a server, or what it measures.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "apps/perf_datagrams.hpp"
#include "apps/perf_flow.hpp"
#include "apps/station.hpp"
#include "front/gateway/context.hpp"

namespace tidewire::apps {

struct PerfOptions {
  StationOptions station;
  std::uint16_t serve = 0;
  std::string host;
  std::uint16_t port = 0;
  std::string what;
  std::uint64_t first = 0, second = 1;
  bool no_verify = false;
  bool once = false;
  std::uint32_t timeout_s = 600;
};

/// What came of it. Results of several stacks add up.
struct PerfResult {
  bool good = true;
  double seconds = 0;                     ///< the longest
  std::uint64_t bytes = 0;                ///< bulk: one way
  std::uint64_t count = 0;                ///< connections, round trips, datagrams that were right
  std::uint64_t failed = 0, damaged = 0;  ///< connections; datagrams
  std::vector<std::int64_t> times;        ///< of round trips, in nanoseconds
  SocketError error = SocketError::none;  ///< the first

  void add(const PerfResult& other);
};

class PerfRun final : public runtime::StackOwner {
 public:
  /// Both outlive it.
  PerfRun(const PerfOptions& options, Station& station) : options_(options), station_(station) {}

  /// Serves until the loop is stopped or the time is over; `listening` is called when it does.
  PerfResult serve(const std::function<void()>& listening);
  /// As a client. Throws Failure.
  PerfResult measure();

  void on_event(const Event& event, Instant now) override;

 private:
  using Flows = std::unordered_map<SocketId, std::unique_ptr<PerfFlow>, gateway::SocketIdHash>;

  Stack& stack() { return station_.stack(); }
  void begin();
  void accept_all(Instant now);
  PerfFlow& add(SocketId socket);
  PerfFlow* connect(Instant now);
  PerfFlow& must_connect(Instant now);
  void close_all();

  PerfResult datagrams();
  PerfResult bulk();
  PerfResult round_trips();
  PerfResult connections();

  const PerfOptions& options_;
  Station& station_;
  Pattern pattern_;
  Endpoint remote_;
  SocketId listener_;
  std::unique_ptr<DatagramEcho> echo_;
  std::unique_ptr<DatagramSizes> sizes_;
  Flows flows_;
  std::function<void(PerfFlow&, Instant)> after_event_;
  std::uint64_t accepted_ = 0, received_ = 0, finished_ = 0, damaged_ = 0, failed_ = 0;
  Instant limit_;
};

}  // namespace tidewire::apps
