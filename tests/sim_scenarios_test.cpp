// Two hundred seeded scenarios: every byte arrives intact and in order, or the application is told;
// nothing hangs.
#include <gtest/gtest.h>

#include <sstream>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

constexpr int kScenarios = 200;

struct Scenario {
  device::NetSpec net;
  LinkOptions link;
  AdversaryOptions adversary;
  HostOptions host_a, host_b;
  StreamPlan client, server;
  Duration failing_from, failing_until;  ///< memory of host b
  bool must_succeed = true;
};

class Maker {
 public:
  explicit Maker(int number) : rng_({static_cast<std::uint64_t>(number), 77}) {}

  Scenario make() {
    Scenario s;
    impair(s, s.net.up);
    impair(s, s.net.down);
    plan(s.client);
    plan(s.server);
    const std::uint32_t mtus[] = {576, 1006, 1280, 1400, 1500, 9000};
    s.link.mtu = mtus[rng_.below(6)];
    s.link.medium = one_in(3) ? Medium::ip : Medium::ethernet;
    if (s.link.medium == Medium::ethernet && (interrupted(s.net.up) || interrupted(s.net.down))) {
      s.must_succeed = false;  // three lost ARP requests are "host unreachable"
    }
    if (one_in(2)) s.adversary = AdversaryOptions::all();
    if (one_in(6)) {
      s.failing_from = millis(0, 3000);
      s.failing_until = s.failing_from + millis(1, 5000);
      s.must_succeed = false;
    }
    if (one_in(8)) {
      s.host_b.memory_cap = (512 + rng_.below(1024)) * 1024;
      s.must_succeed = false;
    }
    tune(s.host_a.stack.tcp);
    tune(s.host_b.stack.tcp);
    return s;
  }

 private:
  bool one_in(std::uint64_t n) { return rng_.below(n) == 0; }
  Duration millis(std::uint64_t from, std::uint64_t to) {
    return Duration::millis(static_cast<std::int64_t>(from + rng_.below(to - from)));
  }
  device::Probability percent(std::uint64_t most) {
    return device::Probability::ratio(rng_.below(most * 100) + 1, 10'000);
  }

  static bool interrupted(const device::LinkSpec& link) {
    return !link.blackouts.empty() || !link.full.empty();
  }
  void impair(Scenario& s, device::LinkSpec& link) {
    link.delay = one_in(4) ? Duration::zero() : millis(1, 150);
    if (one_in(3)) link.jitter = millis(1, 30);
    if (one_in(2)) link.loss = percent(one_in(3) ? 30 : 5);
    if (link.loss != device::Probability::never() && one_in(4)) {
      link.burst = 2 + static_cast<std::uint32_t>(rng_.below(4));
    }
    if (link.loss > device::Probability::percent(5)) s.must_succeed = false;
    if (one_in(3)) link.reorder = percent(10);
    if (one_in(4)) link.duplicate = percent(10);
    if (one_in(4)) link.corrupt = percent(5);
    if (one_in(2)) link.rate_bps = 500'000 + rng_.below(50'000'000);
    if (link.rate_bps != 0 && one_in(2)) {
      link.queue.packets = 5 + static_cast<std::uint32_t>(rng_.below(100));
    }
    if (one_in(5)) link.lose = {1 + rng_.below(10), 12 + rng_.below(30)};
    if (one_in(5)) {
      const Duration from = millis(0, 2000);
      link.blackouts = {{from, from + millis(10, 15'000)}};
    }
    if (one_in(5)) {
      const Duration from = millis(0, 2000);
      link.full = {{from, from + millis(1, 3000)}};
    }
  }

  void plan(StreamPlan& plan) {
    plan.send_total = one_in(5) ? rng_.below(10) : rng_.below(200'000);
    plan.in_place = one_in(2);
    plan.answer_first = one_in(6);
    plan.keep_alive = true;
    if (one_in(4)) plan.receive_buffer = 2048 + static_cast<std::uint32_t>(rng_.below(16'000));
    if (one_in(4)) plan.send_buffer = 4096 + static_cast<std::uint32_t>(rng_.below(60'000));
    if (one_in(5)) {
      plan.read_chunk = 1000 + rng_.below(10'000);
      plan.read_pause = millis(1, 100);
    }
  }

  void tune(TcpConfig& tcp) {
    tcp.sack = !one_in(4);
    tcp.timestamps = !one_in(4);
    tcp.window_scaling = !one_in(4);
    tcp.nagle = !one_in(4);
    if (one_in(3)) tcp.congestion_control = "reno";
  }

  Rng rng_;
};

std::string windows(const char* name, const device::LinkSpec& link) {
  std::string text;
  for (const device::Window& w : link.blackouts) {
    text += std::string(", ") + name + " dark from " + std::to_string(w.from.count_millis()) +
            " to " + std::to_string(w.until.count_millis()) + " ms";
  }
  for (const device::Window& w : link.full) {
    text += std::string(", ") + name + " full from " + std::to_string(w.from.count_millis()) +
            " to " + std::to_string(w.until.count_millis()) + " ms";
  }
  return text;
}

std::string describe(const Scenario& s, int number) {
  std::ostringstream text;
  text << "scenario " << number << ": net '" << to_string(s.net) << "' mtu " << s.link.mtu
       << windows("up", s.net.up) << windows("down", s.net.down)
       << (s.adversary.active() ? ", adversarial scheduler" : "") << ", client sends "
       << s.client.send_total << ", server " << s.server.send_total << ", memory cap "
       << s.host_b.memory_cap << ", memory fails from " << s.failing_from.count_millis() << " to "
       << s.failing_until.count_millis() << " ms\n"
       << "repeat: tidewire_cross_test --gtest_filter='*Scenarios.*/" << number << "'";
  return text.str();
}

class Scenarios : public ::testing::TestWithParam<int> {};

TEST_P(Scenarios, IntactOrTold) {
  const int number = GetParam();
  Scenario s = Maker{number}.make();
  if (s.client.answer_first && s.server.answer_first) s.server.answer_first = false;
  SCOPED_TRACE(describe(s, number));
  TwoHosts two{s.net,   {static_cast<std::uint64_t>(number), 1}, s.link, s.adversary, s.host_a,
               s.host_b};
  Transfer transfer{two, s.client, s.server};
  if (s.failing_until > Duration::zero()) {
    two.world.after(s.failing_from, [&] { two.b.memory().set_failing(true); });
    two.world.after(s.failing_until, [&] { two.b.memory().set_failing(false); });
  }
  const Outcome outcome = transfer.run(Duration::seconds(6 * 3600));
  // A client that gave up may be done before the server has noticed; both must be in the end.
  EXPECT_EQ(outcome, Outcome::done) << to_string(outcome) << "\n" << transfer.state();
  EXPECT_EQ(transfer.violation(), "") << transfer.state();
  if (s.must_succeed) {
    EXPECT_TRUE(transfer.complete()) << transfer.state();
  }
  const Outcome rest = two.world.run_for(Duration::seconds(1800));
  EXPECT_EQ(rest, Outcome::idle) << to_string(rest) << "\n" << two.world.explain();
}

INSTANTIATE_TEST_SUITE_P(Seeded, Scenarios, ::testing::Range(0, kScenarios));

}  // namespace
}  // namespace tidewire::sim
