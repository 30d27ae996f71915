// The short way of usual segments comes to what all steps come to: packets, decisions and counters
// of a run are the same with it and without.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "sim_support.hpp"

namespace tidewire::sim {
namespace {

/// Says something, waits for the echo, says the next thing: sizes from a byte to some segments.
class Talker final : public Application {
 public:
  Talker(Host& host, std::uint32_t rounds, std::uint64_t seed)
      : host_(host), rounds_(rounds), rng_({seed, 5}) {}

  void connect(const Endpoint& remote) {
    socket_ = host_.stack().open(SocketKind::tcp, Family::v4).value();
    host_.watch(socket_, *this);
    (void)host_.stack().set_option(socket_, SocketOption::no_delay, rng_.below(2) == 0 ? 1 : 0,
                                   host_.now());
    (void)host_.stack().connect(socket_, remote, host_.now());
  }
  void on_event(const Event& event, Instant now) override {
    if ((event.bits & kError) != 0) failed_ = true;
    run(now);
  }
  void run(Instant now) override {
    std::vector<std::byte> buffer(16'384);
    for (bool more = true; more && !done();) {
      more = false;
      while (const auto n = host_.stack().receive(socket_, buffer, {}, now)) {
        if (*n == 0) return;
        owed_ -= std::min(owed_, *n);
        more = true;
      }
      if (owed_ > 0 && unsent_ == 0) continue;
      if (owed_ == 0) {
        if (rounds_ == 0) return finish(now);
        --rounds_;
        owed_ = unsent_ = 1 + (rng_.below(4) == 0 ? rng_.below(9'000) : rng_.below(200));
      }
      const auto sent = host_.stack().send(socket_, Bytes(buffer).first(unsent_), {}, now);
      if (!sent) continue;
      unsent_ -= *sent;
      more = *sent > 0;
    }
  }
  bool done() const noexcept { return done_ || failed_; }
  bool failed() const noexcept { return failed_; }

 private:
  void finish(Instant now) {
    done_ = true;
    host_.stack().close(socket_, now);
  }

  Host& host_;
  std::uint32_t rounds_;
  Rng rng_;
  SocketId socket_;
  std::size_t owed_ = 0;
  std::size_t unsent_ = 0;
  bool done_ = false;
  bool failed_ = false;
};

struct Run {
  std::uint64_t packets_hash = 0;
  std::uint64_t packets = 0;
  std::vector<TraceRecord> trace;
  std::vector<std::uint64_t> counts;  ///< counters of both stacks
  std::uint64_t predicted = 0;        ///< segments that took the short way
  bool complete = false;
};

/// How many say something, and how often each.
struct Talk {
  std::uint32_t talkers = 3;
  std::uint32_t rounds = 200;
};

Run run(std::string_view words, std::uint64_t seed, bool prediction, bool adversary,
        const Talk& talk) {
  HostOptions options;
  options.stack.tcp.prediction = prediction;
  options.stack.tcp.delayed_ack = Duration::millis(seed % 2 == 0 ? 40 : 5);
  TwoHosts two{net(words), {seed, 9}, {}, adversary ? AdversaryOptions::all() : AdversaryOptions{},
               options,    options};
  device::HashSink hash;
  device::PcapngWriter writer{hash};
  two.a.capture(two.attached.a, writer);
  std::vector<TraceRecord> room_a(1U << 18), room_b(1U << 18);
  TraceRing ring_a{room_a}, ring_b{room_b};
  two.a.stack().set_trace(&ring_a);
  two.b.stack().set_trace(&ring_b);
  (void)two.b.add<EchoServer>(Endpoint{IpAddress::any(Family::v4), 7});
  std::vector<Talker*> talkers;
  for (std::uint64_t i = 0; i < talk.talkers; ++i) {
    talkers.push_back(&two.a.add<Talker>(talk.rounds, seed * 10 + i));
    talkers.back()->connect({TwoHosts::kAddressB, 7});
  }
  StreamPlan plan;
  plan.send_total = 300'000;
  plan.read_chunk = 5'000;
  Transfer transfer{two, plan, plan};
  // One direction is closed from the start.
  StreamPlan silent;
  silent.expect_seed = 1;
  auto& sink = two.b.add<StreamServer>(Endpoint{IpAddress::any(Family::v4), 9}, silent);
  StreamPlan upload;
  upload.send_total = 400'000;
  auto& uploader = two.a.add<StreamPeer>(upload);
  uploader.connect({TwoHosts::kAddressB, 9});
  const auto uploaded = [&] {
    return uploader.done() && !sink.accepted().empty() && sink.accepted()[0]->done();
  };
  const auto finished = [&] {
    return uploaded() && transfer.finished() &&
           std::ranges::all_of(talkers, [](const Talker* talker) { return talker->done(); });
  };
  (void)two.world.run_until(finished, two.world.now() + Duration::seconds(3600));
  (void)two.world.run_for(Duration::seconds(100));
  Run result;
  result.complete = finished() && transfer.complete() &&
                    sink.accepted()[0]->bytes_received() == upload.send_total;
  result.packets_hash = hash.hash();
  result.packets = writer.packets();
  for (const auto& [ring, room] : {std::pair{&ring_a, &room_a}, std::pair{&ring_b, &room_b}}) {
    if (ring->written > room->size()) ADD_FAILURE() << "the trace lacks room";
    result.trace.insert(result.trace.end(), room->begin(),
                        room->begin() + static_cast<std::ptrdiff_t>(
                                            std::min<std::uint64_t>(ring->written, room->size())));
  }
  for (Host* host : {&two.a, &two.b}) {
    Counters counters = host->stack().counters();
    result.predicted += counters.tcp_predicted_in + counters.tcp_predicted_out;
    counters.tcp_predicted_in = counters.tcp_predicted_out = 0;
    std::vector<std::uint64_t> words_of(sizeof(Counters) / sizeof(std::uint64_t));
    std::memcpy(words_of.data(), &counters, words_of.size() * sizeof(std::uint64_t));
    result.counts.insert(result.counts.end(), words_of.begin(), words_of.end());
  }
  two.a.stack().set_trace(nullptr);
  two.b.stack().set_trace(nullptr);
  return result;
}

bool same(const TraceRecord& x, const TraceRecord& y) {
  return x.at == y.at && x.kind == y.kind && x.cause == y.cause && x.reason == y.reason &&
         x.interface == y.interface && x.socket == y.socket && x.a == y.a && x.b == y.b &&
         x.c == y.c && x.d == y.d && x.e == y.e;
}

std::string describe(const TraceRecord& r) {
  std::string text = std::to_string(r.at.nanos()) + " ns: kind " +
                     std::to_string(static_cast<int>(r.kind)) + " of socket " +
                     std::to_string(r.socket.index);
  for (const std::uint32_t value : {r.a, r.b, r.c, r.d, r.e}) text += " " + std::to_string(value);
  return text;
}

void compare(std::string_view words, std::uint64_t seed, bool adversary, const Talk& talk = {}) {
  SCOPED_TRACE(testing::Message() << words << ", seed " << seed
                                  << (adversary ? ", adversary" : ""));
  const Run with = run(words, seed, true, adversary, talk);
  const Run without = run(words, seed, false, adversary, talk);
  EXPECT_TRUE(with.complete);
  EXPECT_GT(with.predicted * 10, with.packets) << "the short way was hardly taken";
  EXPECT_EQ(without.predicted, 0U);
  const std::size_t both = std::min(with.trace.size(), without.trace.size());
  for (std::size_t i = 0; i < both; ++i) {
    ASSERT_TRUE(same(with.trace[i], without.trace[i]))
        << "record " << i << " at " << with.trace[i].at.nanos()
        << " ns: " << describe(with.trace[i]) << ", without prediction "
        << describe(without.trace[i]);
  }
  ASSERT_EQ(with.trace.size(), without.trace.size());
  EXPECT_EQ(with.packets, without.packets);
  EXPECT_EQ(with.packets_hash, without.packets_hash);
  EXPECT_EQ(with.counts, without.counts);
}

const char* const kNets[] = {
    "delay=0ms",
    "delay=5ms rate=50mbit",
    "delay=20ms jitter=5ms loss=3% rate=5mbit",
    "delay=3ms reorder=5% dup=2% corrupt=1% loss=1%",
    "delay=10ms up.reorder=10% up.reorder.by=5ms rate=20mbit queue=20packets",
};

TEST(Prediction, ChangesNothing) {
  for (const char* words : kNets) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) compare(words, seed, false);
  }
}

// Mostly handshakes and FINs, which cross each other and get lost.
TEST(Prediction, ChangesNothingForShortConnections) {
  for (const char* words : kNets) {
    for (std::uint64_t seed = 21; seed <= 24; ++seed) {
      compare(words, seed, false, {.talkers = 100, .rounds = 1});
    }
  }
}

TEST(Prediction, ChangesNothingUnderAnAdversary) {
  for (const char* words : kNets) {
    for (std::uint64_t seed = 11; seed <= 14; ++seed) compare(words, seed, true);
  }
}

}  // namespace
}  // namespace tidewire::sim
