// tidewire perf: moves bytes that both ends check, for tests and figures.
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <unordered_map>
#include <vector>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/perf_datagrams.hpp"
#include "apps/perf_flow.hpp"
#include "apps/signals.hpp"
#include "apps/station.hpp"
#include "front/gateway/context.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "WHAT: send N | receive N | both N | rr COUNT SIZE | connect COUNT PARALLEL | udp FROM TO\n"
    "Prints one line of JSON. The server side is `tidewire perf --serve PORT`, which also sends\n"
    "datagrams back.";

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

class Perf final : public runtime::StackOwner {
 public:
  explicit Perf(PerfOptions& options) : options_(options) {}

  int run() {
    options_.station.check(2);
    std::optional<gateway::PublishSpec> publish;
    if (options_.serve != 0) {
      publish = gateway::PublishSpec{};
      publish->host.port = publish->target.port = options_.serve;
    }
    station_ = Station::make(options_.station, publish, 1);
    station_->driver().set_owner(stack(), this);
    Signals signals(station_->driver(), {SIGINT, SIGTERM},
                    [this](int) { station_->driver().stop(); });
    limit_ = runtime::Clock::now() + Duration::seconds(options_.timeout_s);
    const int status = options_.serve != 0 ? serve() : measure();
    station_->drain(Duration::seconds(30));
    return status;
  }

  void on_event(const Event& event, Instant now) override {
    if (event.kind != Event::Kind::socket) return;
    if (event.socket == listener_) return accept_all(now);
    if (echo_ && event.socket == echo_->socket()) return echo_->on_event(now);
    if (sizes_) return sizes_->on_event(now);
    const auto it = flows_.find(event.socket);
    if (it == flows_.end()) return;
    it->second->on_event(event.bits, now);
    if (after_event_) after_event_(*it->second, now);
    if (it->second->finished()) {
      ++finished_;
      if (!it->second->intact()) ++damaged_;
      if (it->second->error() != SocketError::none) ++failed_;
      flows_.erase(it);
    }
  }

 private:
  using Flows = std::unordered_map<SocketId, std::unique_ptr<PerfFlow>, gateway::SocketIdHash>;

  Stack& stack() { return station_->stack(); }

  int serve() {
    const Instant now = runtime::Clock::now();
    const auto socket = stack().open(SocketKind::tcp, Family::v4);
    if (!socket || !stack().bind(*socket, {IpAddress::any(Family::v4), options_.serve, 0}, now) ||
        !stack().listen(*socket, 4096, now)) {
      throw Failure("cannot listen on port " + std::to_string(options_.serve));
    }
    listener_ = *socket;
    const auto datagrams = stack().open(SocketKind::udp, Family::v4);
    if (datagrams &&
        stack().bind(*datagrams, {IpAddress::any(Family::v4), options_.serve, 0}, now)) {
      echo_ = std::make_unique<DatagramEcho>(stack(), *datagrams);
    }
    fmt::print("listening\n");
    std::fflush(stdout);
    (void)station_->driver().run_until(
        [this] { return options_.once && finished_ != 0 && flows_.empty(); }, limit_);
    stack().close(listener_, runtime::Clock::now());
    return damaged_ == 0 ? 0 : 1;
  }

  void accept_all(Instant now) {
    while (const auto socket = stack().accept(listener_, now)) {
      PerfFlow& flow = add(*socket);
      flow.serve();
      flow.on_event(stack().readiness(*socket) | kConnected, now);
    }
  }

  PerfFlow& add(SocketId socket) {
    auto& flow = flows_[socket];
    flow = std::make_unique<PerfFlow>(stack(), pattern_, socket);
    flow->set_verify(!options_.no_verify);
    return *flow;
  }

  PerfFlow* connect(Instant now) {
    const auto socket = stack().open(SocketKind::tcp, Family::v4);
    if (!socket) return nullptr;
    (void)stack().set_option(*socket, SocketOption::no_delay, 1, now);
    const auto done = stack().connect(*socket, remote_, now);
    if (!done && done.error() != SocketError::in_progress) {
      stack().close(*socket, now);
      return nullptr;
    }
    return &add(*socket);
  }

  int measure() {
    remote_ = {station_->resolve(options_.host, 1), options_.port, 0};
    if (options_.what == "rr") return round_trips();
    if (options_.what == "connect") return connections();
    if (options_.what == "udp") return datagrams();
    return bulk();
  }

  int datagrams() {
    Instant now = runtime::Clock::now();
    const auto socket = stack().open(SocketKind::udp, Family::v4);
    if (!socket || !stack().connect(*socket, remote_, now)) throw Failure("cannot connect");
    sizes_ = std::make_unique<DatagramSizes>(stack(), pattern_, *socket,
                                             static_cast<std::uint32_t>(options_.first),
                                             static_cast<std::uint32_t>(options_.second));
    sizes_->start(now);
    while (!sizes_->finished() && now < limit_) {
      (void)station_->driver().run_until([this] { return sizes_->finished(); },
                                         earlier(limit_, sizes_->deadline()));
      now = runtime::Clock::now();
      if (!sizes_->finished() && sizes_->deadline() <= now) sizes_->on_timeout(now);
    }
    const bool good = sizes_->finished() && sizes_->lost() == 0 && sizes_->damaged() == 0;
    fmt::print(R"({{"what": "udp", "intact": {}, "lost": {}, "damaged": {}, "ok": {}}})"
               "\n",
               sizes_->intact(), sizes_->lost(), sizes_->damaged(), good);
    stack().close(*socket, now);
    return good ? 0 : 1;
  }

  int bulk() {
    const Instant start = runtime::Clock::now();
    PerfFlow* flow = connect(start);
    if (flow == nullptr) throw Failure("cannot connect");
    const std::string count = std::to_string(options_.first);
    const bool sends = options_.what != "receive";
    if (options_.what == "send") {
      flow->send_text("sink\n");
      flow->expect_text();
    } else {
      flow->send_text((options_.what == "both" ? "both " : "source ") + count + "\n");
      flow->expect_pattern(options_.first);
    }
    flow->send_pattern(sends ? options_.first : 0, true);
    std::string answer;
    std::uint64_t received = 0;
    SocketError error = SocketError::none;
    Instant end = start;
    after_event_ = [&](PerfFlow& f, Instant) {
      if (!f.finished()) return;
      answer = f.text();
      received = f.received();
      error = f.error();
      end = runtime::Clock::now();
    };
    (void)station_->driver().run_until([this] { return finished_ != 0; }, limit_);
    const bool good =
        finished_ != 0 && damaged_ == 0 && failed_ == 0 &&
        (options_.what == "send" ? answer == "ok " + count + "\n" : received == options_.first);
    const double seconds = static_cast<double>((end - start).count_nanos()) / 1e9;
    const auto bytes = static_cast<double>(options_.first);
    fmt::print(R"({{"what": "{}", "bytes": {}, "seconds": {:.6f}, "gbit_per_s": {:.4f}, "ok": {}}})"
               "\n",
               options_.what, options_.first, seconds,
               seconds > 0 ? bytes * 8 / seconds / 1e9 : 0.0, good);
    if (error != SocketError::none) fmt::print(stderr, "tidewire perf: {}\n", to_string(error));
    return good ? 0 : 1;
  }

  int round_trips() {
    PerfFlow* flow = connect(runtime::Clock::now());
    if (flow == nullptr) throw Failure("cannot connect");
    const std::string message(std::max<std::uint64_t>(options_.second, 1), 'x');
    std::vector<std::int64_t> times;
    times.reserve(options_.first);
    Instant sent_at;
    bool started = false;
    flow->send_text("echo\n");
    flow->expect_text();
    after_event_ = [&](PerfFlow& f, Instant now) {
      if (f.finished() || !f.connected()) return;
      if (started && f.text().size() < message.size()) return;
      if (started) times.push_back((runtime::Clock::now() - sent_at).count_nanos());
      started = true;
      f.clear_text();
      if (times.size() >= options_.first) return;
      f.send_text(message);
      sent_at = runtime::Clock::now();
      f.pump(now);
    };
    const Instant start = runtime::Clock::now();
    (void)station_->driver().run_until(
        [&] { return times.size() >= options_.first || finished_ != 0; }, limit_);
    const double seconds = static_cast<double>((runtime::Clock::now() - start).count_nanos()) / 1e9;
    std::ranges::sort(times);
    const auto at = [&](std::size_t percent) {
      return times.empty() ? 0.0
                           : static_cast<double>(times[(times.size() - 1) * percent / 100]) / 1e3;
    };
    const bool good = times.size() == options_.first;
    fmt::print(R"({{"what": "rr", "count": {}, "size": {}, "seconds": {:.6f}, "per_s": {:.0f}, )"
               R"("p50_us": {:.1f}, "p99_us": {:.1f}, "ok": {}}})"
               "\n",
               times.size(), message.size(), seconds, static_cast<double>(times.size()) / seconds,
               at(50), at(99), good);
    close_all();
    return good ? 0 : 1;
  }

  int connections() {
    std::uint64_t started = 0;
    const auto start_one = [&] {
      if (started >= options_.first) return;
      if (PerfFlow* flow = connect(runtime::Clock::now())) {
        ++started;
        flow->send_text("echo\nx");
        flow->expect_text();
      }
    };
    std::uint64_t good = 0;
    after_event_ = [&](PerfFlow& f, Instant now) {
      if (f.finished() || f.text().empty()) return;
      ++good;
      f.close(now);
    };
    const Instant start = runtime::Clock::now();
    (void)station_->driver().run_until(
        [&] {
          while (flows_.size() < options_.second && started < options_.first) {
            const std::uint64_t before = started;
            start_one();
            if (before == started) break;
          }
          return finished_ >= options_.first;
        },
        limit_);
    const double seconds = static_cast<double>((runtime::Clock::now() - start).count_nanos()) / 1e9;
    fmt::print(R"({{"what": "connect", "count": {}, "parallel": {}, "seconds": {:.6f}, )"
               R"("per_s": {:.0f}, "failed": {}, "ok": {}}})"
               "\n",
               good, options_.second, seconds, static_cast<double>(good) / seconds, failed_,
               good == options_.first);
    close_all();
    return good == options_.first ? 0 : 1;
  }

  void close_all() {
    const Instant now = runtime::Clock::now();
    for (auto& [id, flow] : flows_) flow->close(now);
    flows_.clear();
  }

  PerfOptions& options_;
  Pattern pattern_;
  std::unique_ptr<Station> station_;
  Endpoint remote_;
  SocketId listener_;
  std::unique_ptr<DatagramEcho> echo_;
  std::unique_ptr<DatagramSizes> sizes_;
  Flows flows_;
  std::function<void(PerfFlow&, Instant)> after_event_;
  std::uint64_t finished_ = 0, damaged_ = 0, failed_ = 0;
  Instant limit_;
};

}  // namespace

void add_perf(CLI::App& app, int& status) {
  auto options = std::make_shared<PerfOptions>();
  CLI::App* command = app.add_subcommand("perf", "Move checked bytes and measure");
  command->group("");
  command->footer(kFooter);
  command->add_option("--serve", options->serve, "Serve on PORT")->type_name("PORT");
  command->add_flag("--once", options->once, "With --serve: end after the last connection");
  command->add_flag("--no-verify", options->no_verify, "Do not look at the bytes");
  command->add_option("--timeout", options->timeout_s, "Give up after")->type_name("SECONDS");
  command->add_option("host", options->host);
  command->add_option("port", options->port);
  command->add_option("what", options->what)
      ->check(CLI::IsMember({"send", "receive", "both", "rr", "connect", "udp"}));
  command->add_option("first", options->first);
  command->add_option("second", options->second);
  options->station.add_to(*command);
  command->callback([options, &status] { status = Perf(*options).run(); });
}

}  // namespace tidewire::apps
