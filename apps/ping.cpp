// tidewire ping: ICMP echo from this stack.
#include <fmt/core.h>

#include <array>
#include <csignal>
#include <map>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/signals.hpp"
#include "apps/station.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "Without --device the gateway (10.0.2.2, host.tidewire) always answers; hosts behind it only\n"
    "where this host allows unprivileged ICMP sockets (see `tidewire doctor`).\n"
    "Examples:\n"
    "  tidewire ping --net 'delay=20ms loss=5%' -c 10 host.tidewire\n"
    "  tidewire ping --tap tap0 --addr 192.0.2.2/24 192.0.2.1";

constexpr std::uint8_t kEchoRequest = 8;
constexpr std::uint8_t kEchoReply = 0;
constexpr std::size_t kHeader = 8;

struct PingOptions {
  StationOptions station;
  std::string host;
  std::uint32_t count = 0;
  std::uint32_t size = 56;
  double interval_s = 1.0;
  double timeout_s = 2.0;
  bool quiet = false;
  bool dont_fragment = false;
};

class Ping final : public runtime::StackOwner, public runtime::Task {
 public:
  explicit Ping(const PingOptions& options) : options_(options) {}

  int run() {
    options_.station.check(2);
    if (options_.size > 65'507) throw Failure("the greatest size is 65507 bytes", 2);
    station_ = Station::make(options_.station, std::nullopt, 1);
    target_ = station_->resolve(options_.host, 1);
    Instant now = runtime::Clock::now();
    const auto socket = stack().open(SocketKind::icmp, Family::v4);
    if (!socket) throw Failure("no ICMP socket: " + std::string(to_string(socket.error())));
    socket_ = *socket;
    if (const auto done = stack().connect(socket_, Endpoint{target_, 0, 0}, now); !done) {
      throw Failure("ping " + options_.host + ": " + std::string(to_string(done.error())));
    }
    (void)stack().set_option(socket_, SocketOption::receive_errors, 1, now);
    if (options_.dont_fragment)
      (void)stack().set_option(socket_, SocketOption::mtu_discover, 2, now);
    station_->driver().set_owner(stack(), this);
    station_->driver().add_task(*this);
    Signals signals(station_->driver(), {SIGINT, SIGTERM},
                    [this](int) { station_->driver().stop(); });
    fmt::print("PING {} ({}) {} bytes of data\n", options_.host, to_string(target_), options_.size);
    next_send_ = now;
    (void)station_->driver().run_until([this] { return finished_; });
    station_->driver().remove_task(*this);
    station_->driver().set_owner(stack(), nullptr);
    stack().close(socket_, runtime::Clock::now());
    print_statistics();
    return received_ != 0 ? 0 : 1;
  }

  Instant next_deadline() override {
    if (options_.count != 0 && sent_ >= options_.count) return last_sent_ + timeout();
    return next_send_;
  }

  void run(Instant now) override {
    if (options_.count != 0 && sent_ >= options_.count) {
      finished_ = true;
      return;
    }
    send(now);
    next_send_ = next_send_ + Duration::nanos(static_cast<std::int64_t>(options_.interval_s * 1e9));
    if (next_send_ < now) next_send_ = now;
  }

  void on_event(const Event& event, Instant now) override {
    if (event.socket != socket_) return;
    std::array<std::byte, 65'536> data;
    for (int i = 0; i < 1000; ++i) {
      const auto got = stack().receive_datagram(socket_, data, false, now);
      if (!got && got.error() == SocketError::would_block) break;
      if (!got) continue;  // told by the error queue
      take(*got, Bytes(data).first(got->copied), now);
    }
    while (const auto error = stack().take_error_info(socket_)) {
      fmt::print("From {}: {}\n", to_string(error->offender), to_string(error->error));
      ++errors_;
    }
    if (options_.count != 0 && received_ + errors_ >= options_.count) finished_ = true;
  }

 private:
  Stack& stack() { return station_->stack(); }
  Duration timeout() const {
    return Duration::nanos(static_cast<std::int64_t>(options_.timeout_s * 1e9));
  }

  void send(Instant now) {
    std::vector<std::byte> packet(kHeader + options_.size);
    Writer writer(packet);
    writer.u8(kEchoRequest);
    writer.u8(0);
    writer.u16(0);  // checksum and identifier are the stack's
    writer.u16(0);
    writer.u16(static_cast<std::uint16_t>(++sent_));
    for (std::uint32_t i = 0; i < options_.size; ++i) writer.u8(static_cast<std::uint8_t>(i));
    const Bytes data = packet;
    sent_at_[static_cast<std::uint16_t>(sent_)] = now;
    last_sent_ = now;
    if (const auto done = stack().send_datagram(socket_, std::span(&data, 1), {}, now); !done) {
      fmt::print("ping: {}\n", to_string(done.error()));
    }
  }

  void take(const DatagramInfo& info, Bytes data, Instant now) {
    Reader reader(data);
    if (reader.u8() != kEchoReply) return;
    reader.skip(5);
    const std::uint16_t sequence = reader.u16();
    const auto it = sent_at_.find(sequence);
    if (!reader.ok() || it == sent_at_.end()) return;
    const Duration rtt = now - it->second;
    sent_at_.erase(it);
    bool intact = reader.remaining() == options_.size;
    for (std::size_t i = 0; intact && i < options_.size; ++i) {
      intact = reader.u8() == static_cast<std::uint8_t>(i);
    }
    ++received_;
    min_ = std::min(min_, rtt);
    max_ = std::max(max_, rtt);
    total_ += rtt;
    if (options_.quiet) return;
    fmt::print("{} bytes from {}: icmp_seq={} ttl={} time={:.3f} ms{}\n", data.size(),
               to_string(info.source.address), sequence, info.ttl,
               static_cast<double>(rtt.count_nanos()) / 1e6, intact ? "" : " (wrong data!)");
    std::fflush(stdout);
  }

  void print_statistics() const {
    fmt::print("{} sent, {} received, {:.1f}% lost\n", sent_, received_,
               sent_ == 0 ? 0.0
                          : 100.0 * static_cast<double>(sent_ - std::min(sent_, received_)) /
                                static_cast<double>(sent_));
    if (received_ == 0) return;
    const auto ms = [](Duration d) { return static_cast<double>(d.count_nanos()) / 1e6; };
    fmt::print("round trip min/avg/max = {:.3f}/{:.3f}/{:.3f} ms\n", ms(min_),
               ms(total_ / received_), ms(max_));
  }

  PingOptions options_;
  std::unique_ptr<Station> station_;
  IpAddress target_;
  SocketId socket_;
  std::map<std::uint16_t, Instant> sent_at_;
  std::uint32_t sent_ = 0, received_ = 0, errors_ = 0;
  Duration min_ = Duration::max(), max_, total_;
  Instant next_send_, last_sent_;
  bool finished_ = false;
};

}  // namespace

void add_ping(CLI::App& app, int& status) {
  auto options = std::make_shared<PingOptions>();
  CLI::App* command = app.add_subcommand("ping", "Send ICMP echo requests");
  command->footer(kFooter);
  command->add_option("host", options->host, "Name or address")->required();
  command->add_option("-c,--count", options->count, "Stop after N requests")->type_name("N");
  command->add_option("-s,--size", options->size, "Bytes of data")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("-i,--interval", options->interval_s, "Between requests")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_option("-W,--timeout", options->timeout_s, "For the last answer")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_flag("-q,--quiet", options->quiet, "Only the statistics");
  command->add_flag("-M,--dont-fragment", options->dont_fragment, "Forbid fragmentation");
  options->station.add_to(*command);
  command->callback([options, &status] { status = Ping(*options).run(); });
}

}  // namespace tidewire::apps
