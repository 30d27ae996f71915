// tidewire perf: moves bytes that both ends check, for tests and figures.
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <vector>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/perf_run.hpp"
#include "apps/sharded_link.hpp"
#include "apps/signals.hpp"
#include "apps/station.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "WHAT is one of\n"
    "  send N, receive N, both N   N bytes there, back, or both ways at once\n"
    "  rr COUNT [SIZE]             so many round trips of SIZE bytes (1), one after the other\n"
    "  connect COUNT [PARALLEL]    connect, a byte each way, close; so many at a time (1)\n"
    "  udp FROM TO                 a datagram of each size, sent back by the server\n"
    "It prints one line of JSON. Both ends check every byte, and the exit status is 1 if one was\n"
    "wrong or the time was over. With --shards each shard does all of WHAT, and the line is about\n"
    "all of them.\n"
    "Examples:\n"
    "  tidewire perf --device tap:tw0 --addr 192.0.2.2/24 --serve 5001\n"
    "  tidewire perf --net 'delay=20ms rate=50mbit' 10.0.2.2 5001 receive 10000000";

/// The figures of `what`, without the braces.
std::string figures(const PerfOptions& options, PerfResult& result) {
  const double seconds = result.seconds;
  const auto rate = [&](double amount) { return seconds > 0 ? amount / seconds : 0.0; };
  if (options.serve != 0) {
    return fmt::format(R"("what": "serve", "connections": {}, "bytes": {}, "failed": {}, )"
                       R"("damaged": {})",
                       result.count, result.bytes, result.failed, result.damaged);
  }
  if (options.what == "udp") {
    return fmt::format(R"("what": "udp", "intact": {}, "lost": {}, "damaged": {})", result.count,
                       result.failed, result.damaged);
  }
  if (options.what == "connect") {
    return fmt::format(R"("what": "connect", "count": {}, "parallel": {}, "seconds": {:.6f}, )"
                       R"("per_s": {:.0f}, "failed": {})",
                       result.count, options.second, seconds,
                       rate(static_cast<double>(result.count)), result.failed);
  }
  if (options.what == "rr") {
    std::vector<std::int64_t>& times = result.times;
    std::ranges::sort(times);
    const auto at = [&](std::size_t percent) {
      return times.empty() ? 0.0
                           : static_cast<double>(times[(times.size() - 1) * percent / 100]) / 1e3;
    };
    return fmt::format(R"("what": "rr", "count": {}, "size": {}, "seconds": {:.6f}, )"
                       R"("per_s": {:.0f}, "p50_us": {:.1f}, "p99_us": {:.1f})",
                       times.size(), std::max<std::uint64_t>(options.second, 1), seconds,
                       rate(static_cast<double>(times.size())), at(50), at(99));
  }
  return fmt::format(R"("what": "{}", "bytes": {}, "seconds": {:.6f}, "gbit_per_s": {:.4f})",
                     options.what, result.bytes, seconds,
                     rate(static_cast<double>(result.bytes) * 8e-9));
}

std::string steering(const runtime::SteeringCounters& counters, const PerfResult& result) {
  return fmt::format(R"({{"count": {}, "bytes": {}, "own": {}, "handed_over": {}, )"
                     R"("taken_over": {}, "ring_full": {}, "fragments": {}}})",
                     result.count, result.bytes, counters.own, counters.handed_over,
                     counters.taken_over, counters.ring_full, counters.fragments);
}

void say_listening() {
  fmt::print("listening\n");
  std::fflush(stdout);
}

class Perf {
 public:
  explicit Perf(PerfOptions& options) : options_(options) {}

  int run() {
    options_.station.check(2);
    if (options_.station.shards > 1 && options_.once) {
      throw Failure("--once counts the connections of one stack; leave out --shards", 2);
    }
    std::string shards;
    PerfResult result = options_.station.shards > 1 ? run_shards(shards) : run_one();
    if (options_.serve == 0 || !shards.empty()) {
      fmt::print("{{{}{}, \"ok\": {}}}\n", figures(options_, result), shards, result.good);
    }
    if (result.error != SocketError::none) {
      fmt::print(stderr, "tidewire perf: {}\n", to_string(result.error));
    }
    return result.good ? 0 : 1;
  }

 private:
  PerfResult run_one() {
    std::optional<gateway::PublishSpec> publish;
    if (options_.serve != 0) {
      publish = gateway::PublishSpec{};
      publish->host.port = publish->target.port = options_.serve;
    }
    const auto station = Station::make(options_.station, publish, 1);
    Signals signals(station->driver(), {SIGINT, SIGTERM}, [&](int) { station->driver().stop(); });
    return run_on(*station, say_listening);
  }

  /// Fills in what is to be told of each shard.
  PerfResult run_shards(std::string& told) {
    ShardedLink link(options_.station, 1);
    Signals signals(link.driver(), {SIGINT, SIGTERM}, [&](int) { link.stop(); });
    std::atomic<std::size_t> listening = 0;
    std::vector<PerfResult> results(link.size());
    link.run([&](Station& station, std::size_t shard) {
      results[shard] = run_on(station, [&] {
        if (++listening == link.size()) say_listening();
      });
    });
    PerfResult sum;
    for (std::size_t i = 0; i < results.size(); ++i) {
      sum.add(results[i]);
      told += (i == 0 ? R"(, "shards": [)" : ", ") + steering(link.counters(i), results[i]);
    }
    told += "]";
    return sum;
  }

  PerfResult run_on(Station& station, const std::function<void()>& listening) const {
    PerfRun run(options_, station);
    const PerfResult result = options_.serve != 0 ? run.serve(listening) : run.measure();
    station.drain(Duration::seconds(30));
    station.driver().set_owner(station.stack(), nullptr);
    return result;
  }

  PerfOptions& options_;
};

}  // namespace

void add_perf(CLI::App& app, int& status) {
  auto options = std::make_shared<PerfOptions>();
  CLI::App* command =
      app.add_subcommand("perf", "Measure flows, round trips, connections and datagrams");
  command->footer(kFooter);
  command->add_option("--serve", options->serve, "Be the server on PORT")->type_name("PORT");
  command->add_flag("--once", options->once, "With --serve: end after the last connection");
  command->add_flag("--no-verify", options->no_verify, "Do not look at the bytes, only count them");
  command->add_option("--timeout", options->timeout_s, "Give up after so long")
      ->type_name("SECONDS");
  command->add_option("host", options->host, "Where the server is")->type_name("HOST");
  command->add_option("port", options->port, "Its port")->type_name("PORT");
  command->add_option("what", options->what, "What to do, see below")
      ->type_name("WHAT")
      ->check(CLI::IsMember({"send", "receive", "both", "rr", "connect", "udp"}).description(""));
  command->add_option("first", options->first, "Bytes, round trips, connections or the least size")
      ->type_name("N");
  command->add_option("second", options->second, "Size, how many at a time or the greatest size")
      ->type_name("N");
  options->station.add_to(*command);
  options->station.add_shards_to(*command);
  command->callback([options, &status] { status = Perf(*options).run(); });
}

}  // namespace tidewire::apps
