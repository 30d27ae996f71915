// Many connections that are all a little busy, in virtual time: each sends a kilobyte a second.
// Usage: busy_bench [busy_COUNT [SECONDS]], COUNT connections (100, 1000, 10000, 100000 when none
// is named). SECONDS is the real time to measure for, at least one second of virtual time.
// Prints the CPU time of a packet, and for 100,000 how fast virtual time runs.
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "report.hpp"
#include "sim/world.hpp"

namespace tidewire::bench {
namespace {

constexpr std::uint16_t kPort = 80;
constexpr std::uint32_t kText = 1000;  // bytes that a connection sends each second
constexpr Duration kPeriod = Duration::seconds(1);
constexpr std::uint32_t kOfAddress = 25'000;  // connections of one address: ephemeral ports
constexpr std::uint32_t kMost = 5'000'000;

/// Opens the connections, then sends on one after the other, evenly over each second.
class Senders final : public sim::Application {
 public:
  Senders(sim::Host& host, std::uint32_t count, const std::vector<IpAddress>& addresses)
      : host_(host), count_(count), addresses_(addresses) {
    sockets_.reserve(count);
    for (std::uint32_t i = 0; i < std::min(count, kAtOnce); ++i) open();
  }

  void on_event(const Event& event, Instant) override {
    must((event.bits & kError) == 0, "connecting");
    if ((event.bits & kConnected) == 0) return;
    ++connected_;
    if (sockets_.size() < count_) open();
  }
  bool connected() const { return connected_ == count_; }
  void start(Instant now) { next_ = first_ = now; }

  Instant deadline() const override { return next_; }
  void run(Instant now) override {
    static constexpr std::array<std::byte, kText> kBytes{};
    while (next_ <= now) {
      const SocketId socket = sockets_[sent_ % count_];
      must(host_.stack().send(socket, kBytes, {}, now).value_or(0) == kText, "send");
      ++sent_;
      next_ =
          first_ + Duration::nanos(
                       static_cast<std::int64_t>(sent_ / count_) * kPeriod.count_nanos() +
                       static_cast<std::int64_t>(sent_ % count_) * kPeriod.count_nanos() / count_);
    }
  }

 private:
  static constexpr std::uint32_t kAtOnce = 500;

  void open() {
    sim::Host& host = host_;
    const auto opened = host.stack().open(SocketKind::tcp, Family::v4);
    must(static_cast<bool>(opened), "open");
    const Endpoint local{addresses_[sockets_.size() / kOfAddress], 0};
    must(static_cast<bool>(host.stack().bind(*opened, local, host.now())), "bind");
    sockets_.push_back(*opened);
    host.watch(*opened, *this);
    (void)host.stack().connect(*opened, Endpoint{sim::TwoHosts::kAddressB, kPort}, host.now());
  }

  sim::Host& host_;
  std::uint32_t count_;
  const std::vector<IpAddress>& addresses_;
  std::vector<SocketId> sockets_;
  std::uint32_t connected_ = 0;
  std::uint64_t sent_ = 0;
  Instant first_, next_ = Instant::never();
};

/// Accepts all connections and takes what they bring.
class Receiver final : public sim::Application {
 public:
  explicit Receiver(sim::Host& host) : host_(host) {
    const auto opened = host.stack().open(SocketKind::tcp, Family::v4);
    must(opened && host.stack().bind(*opened, {{}, kPort}, host.now()), "bind");
    listener_ = *opened;
    must(static_cast<bool>(host.stack().listen(listener_, 4096, host.now())), "listen");
    host.watch(listener_, *this);
  }

  void on_event(const Event& event, Instant now) override {
    Stack& stack = host_.stack();
    if (event.socket == listener_) {
      while (const auto socket = stack.accept(listener_, now)) host_.watch(*socket, *this);
      return;
    }
    must((event.bits & kError) == 0, "receiving");
    while (const std::size_t ready = stack.received(event.socket).size()) {
      must(static_cast<bool>(stack.consumed(event.socket, ready, now)), "consumed");
      bytes_ += ready;
    }
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  sim::Host& host_;
  SocketId listener_;
  std::uint64_t bytes_ = 0;
};

std::uint64_t packets(const sim::Host& a, const sim::Host& b) {
  return a.stack().counters().tcp_segs_out + b.stack().counters().tcp_segs_out;
}

void busy(std::uint32_t count, double seconds) {
  must_have_memory(std::size_t{count} * 8192);  // both ends
  const auto net = device::parse_net_spec("delay=10ms");
  must(static_cast<bool>(net), "the link");
  sim::HostOptions options;
  options.memory_cap = std::size_t{1} << 36;
  options.stack.sockets_max = count + 16;
  sim::TwoHosts two(*net, {7, 0}, {}, {}, options, options);
  two.world.set_step_limit(UINT64_MAX);
  std::vector<IpAddress> addresses;
  for (std::uint32_t i = 0; i <= count / kOfAddress; ++i) {
    addresses.push_back(IpAddress::v4(sim::TwoHosts::kAddressA.v4_value() + 8 + i));
    must(static_cast<bool>(
             two.a.stack().add_address(two.attached.a, {addresses.back(), 24}, two.world.now())),
         "add_address");
  }
  auto& receiver = two.b.add<Receiver>();
  auto& senders = two.a.add<Senders>(count, addresses);
  must(two.world.run_until([&] { return senders.connected(); },
                           two.world.now() + Duration::seconds(10'000)) == sim::Outcome::done,
       "connecting");
  senders.start(two.world.now());
  (void)two.world.run_for(kPeriod * 2);  // every buffer has been used

  const std::uint64_t packets_before = packets(two.a, two.b), bytes_before = receiver.bytes();
  const double cpu_before = cpu_seconds();
  double spent = 0;
  std::uint64_t periods = 0;
  for (; spent < seconds; ++periods) {
    spent += seconds_of([&] { (void)two.world.run_for(kPeriod); });
  }
  const double cpu = cpu_seconds() - cpu_before;
  const std::uint64_t bytes = receiver.bytes() - bytes_before;
  must(bytes == periods * count * kText, "a steady flow");
  const auto carried = static_cast<double>(packets(two.a, two.b) - packets_before);
  print_row(("busy_packet_ns_" + std::to_string(count)).c_str(), cpu / carried * 1e9, "ns");
  if (count == 100'000) print_row("busy_100k", static_cast<double>(periods) / spent, "s/s");
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  const double seconds = bench::seconds_argument(argc, argv);
  if (argc < 2) {
    for (const std::uint32_t count : {100U, 1000U, 10'000U, 100'000U}) bench::busy(count, seconds);
    return 0;
  }
  constexpr std::string_view kPrefix = "busy_";
  const std::string_view name = argv[1];
  std::uint32_t count = 0;
  if (name.starts_with(kPrefix)) {
    const char* const end = name.data() + name.size();
    if (std::from_chars(name.data() + kPrefix.size(), end, count).ptr != end) count = 0;
  }
  if (count == 0 || count > bench::kMost) {
    std::fputs("usage: busy_bench [busy_COUNT [SECONDS]]\n", stderr);
    return 2;
  }
  bench::busy(count, seconds);
}
