// For tests: one flow over a link that delays, drops and reorders segments.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/random.hpp"
#include "core/tcp/cc/registry.hpp"
#include "core/tcp/recover/loss_recovery.hpp"

namespace tidewire::tcp {

/// Sender (loss recovery and a controller), link and receiver in virtual time. Segments are all of
/// one size; `drop(ordinal)` decides over each transmission.
struct TestFlow {
  static constexpr std::uint32_t kMss = 1000;

  struct Setup {
    std::uint32_t segments = 1000;
    bool sack = true;
    bool timestamps = true;
    bool rack = true;
    bool undo = true;
    bool frto = true;
    std::string_view controller = "cubic";
    Seq start{0xffff0000U};
    std::uint64_t window = 400;  ///< the receiver's, in segments
    Duration delay = Duration::millis(20);
  };
  struct Counts {
    std::uint32_t transmissions = 0, again = 0, timeouts = 0, probes = 0, recoveries = 0,
                  spurious = 0;
    std::uint64_t duplicated = 0;
    std::map<RetransmitCause, std::uint32_t> causes;
    std::map<SpuriousBy, std::uint32_t> spurious_by;
  };

  struct Packet {
    std::uint32_t segment;
    Instant sent_at;
  };
  struct Ack {
    std::uint32_t cumulative;
    Instant echo;  ///< when the segment was sent that brought it about
    std::vector<SeqRange> blocks;
  };

  explicit TestFlow(const Setup& s)
      : setup(s),
        recovery(memory,
                 {.sack = s.sack,
                  .rack = s.rack,
                  .undo = s.undo,
                  .frto = s.frto,
                  .mss = kMss,
                  .rtt = {}},
                 s.start, {}),
        cc(*ControllerRegistry().make(s.controller, {.mss = kMss, .now = {}})) {}

  Seq at(std::uint32_t segment) const { return setup.start + segment * kMss; }

  void transmit(SeqRange range) {
    recovery.on_sent(range, kMss, now);
    for (Seq s = range.start; s != range.end; s += kMss) {
      const std::uint32_t segment = Seq::span(setup.start, s) / kMss;
      ++counts.transmissions;
      if (sent_once.contains(segment)) ++counts.again;
      sent_once.insert(segment);
      if (drop && drop(counts.transmissions, segment)) continue;
      const Duration extra = jitter ? jitter(counts.transmissions) : Duration::zero();
      wire.emplace(now + setup.delay + extra, Packet{segment, now});
    }
  }

  void send() {
    for (int burst = 0; burst < 10'000; ++burst) {
      const bool new_data =
          nxt < setup.segments &&
          nxt - Seq::span(setup.start, recovery.scoreboard().una()) / kMss < setup.window;
      const std::uint64_t allowed = recovery.allowance(cc.window(), cc.uses_prr());
      if (allowed < kMss) return;
      if (!recovery.reserve()) return;
      if (const auto again = recovery.next_retransmit(new_data)) {
        ++counts.causes[again->cause];
        transmit({again->range.start, again->range.start + kMss});
        continue;
      }
      if (!new_data) return;
      transmit({at(nxt), at(nxt + 1)});
      ++nxt;
    }
  }

  void deliver(const Packet& packet) {
    const std::uint32_t segment = packet.segment;
    const bool duplicate = segment < received || islands.contains(segment);
    if (!duplicate) islands.insert(segment);
    while (islands.contains(received)) islands.erase(received++);
    Ack ack{received, packet.sent_at, {}};
    if (setup.sack) {
      if (duplicate) ack.blocks.push_back({at(segment), at(segment + 1)});
      newest.insert(newest.begin(), segment);
      std::set<std::uint32_t> shown;
      for (const std::uint32_t s : newest) {
        if (!islands.contains(s) || shown.contains(s)) continue;
        std::uint32_t first = s;
        std::uint32_t last = s;
        while (islands.contains(first - 1)) --first;
        while (islands.contains(last + 1)) ++last;
        for (std::uint32_t k = first; k <= last; ++k) shown.insert(k);
        ack.blocks.push_back({at(first), at(last + 1)});
        if (ack.blocks.size() == 3) break;
      }
      if (newest.size() > 50) newest.resize(50);
    }
    if (drop_ack && drop_ack(++acks_sent)) return;
    acks.emplace(now + setup.delay, ack);
  }

  void take_ack(std::uint32_t cumulative, const std::vector<SeqRange>& blocks,
                std::optional<Instant> echo = std::nullopt) {
    AckEvent event;
    event.seg_ack = at(cumulative);
    event.sack_blocks = blocks;
    event.duplicate =
        event.seg_ack == recovery.scoreboard().una() && !recovery.scoreboard().empty();
    event.now = now;
    if (echo && setup.timestamps && event.seg_ack.after(recovery.scoreboard().una())) {
      // In ticks of the timestamps' clock.
      const std::int64_t ticks = now.nanos() / 1'000'000 - echo->nanos() / 1'000'000;
      event.echoed_rtt = ticks == 0 ? Duration::micros(500) : Duration::millis(ticks);
    }
    if (event.seg_ack.before(recovery.scoreboard().una()) && blocks.empty()) return;
    apply(recovery.on_ack(event, rtt), cumulative);
  }

  void apply(const AckOutcome& o, std::uint32_t cumulative) {
    if (o.spurious != SpuriousBy::none) {
      ++counts.spurious;
      ++counts.spurious_by[o.spurious];
      cc.on_spurious(now);
    }
    counts.duplicated += o.duplicated;
    if (o.entered_recovery) {
      ++counts.recoveries;
      cc.on_recovery(
          {.now = now,
           .edge = RecoveryEdge::enter,
           .in_flight = std::min(o.prior_outstanding, std::max(cc.window(), o.prior_in_flight))});
      recovery.start_reduction(cc.ssthresh());
    }
    cc.on_ack({.now = now,
               .acked = o.acked,
               .delivered = o.delivered,
               .credit = o.credit,
               .lost = o.newly_lost,
               .prior_in_flight = o.prior_in_flight,
               .in_flight = o.in_flight,
               .rtt = o.rtt.value_or(Duration::zero()),
               .srtt = rtt.srtt(),
               .min_rtt = rtt.min_rtt(),
               .snd_una_offset = std::uint64_t{cumulative} * kMss,
               .snd_nxt_offset = std::uint64_t{nxt} * kMss,
               .cwnd_limited = true,
               .in_recovery = o.was_in_recovery || recovery.in_recovery()});
    if (o.left_recovery) {
      cc.on_recovery({.now = now, .edge = RecoveryEdge::exit, .in_flight = o.in_flight});
    }
  }

  void timeout(TimerMode mode) {
    if (mode == TimerMode::reordering) {
      apply(recovery.on_reordering_timer(rtt, now), received);
      return;
    }
    if (mode == TimerMode::tail_probe) {
      if (recovery.on_probe_timer(now)) ++counts.probes;
      return;
    }
    ++counts.timeouts;
    const std::uint64_t flight = recovery.in_flight();
    const bool first = recovery.first_rto();
    (void)recovery.on_rto(rtt, now);
    rtt.back_off();
    cc.on_rto({.now = now, .in_flight = flight, .first = first});
  }

  /// Runs until all is acknowledged; false if that takes more than `limit`.
  bool run(Duration limit = Duration::seconds(1000)) {
    send();
    while (recovery.scoreboard().una() != at(setup.segments)) {
      const TimerPlan plan = recovery.timer(rtt, config);
      Instant next = later(plan.at, now);
      if (!wire.empty()) next = earlier(next, wire.begin()->first);
      if (!acks.empty()) next = earlier(next, acks.begin()->first);
      if (next.is_never() || next > Instant{} + limit) return false;
      now = next;
      if (!wire.empty() && wire.begin()->first == now) {
        const Packet packet = wire.begin()->second;
        wire.erase(wire.begin());
        deliver(packet);
      } else if (!acks.empty() && acks.begin()->first == now) {
        const Ack ack = acks.begin()->second;
        acks.erase(acks.begin());
        take_ack(ack.cumulative, ack.blocks, ack.echo);
      } else {
        timeout(plan.mode);
      }
      send();
      if (check) check();
    }
    return true;
  }

  Setup setup;
  HeapMemory memory{64 << 20};
  LossRecovery recovery;
  AnyController cc;
  RttEstimator rtt;
  RttConfig config;
  Instant now;
  std::uint32_t nxt = 0;
  std::uint32_t received = 0;
  std::uint32_t acks_sent = 0;
  std::set<std::uint32_t> islands;
  std::set<std::uint32_t> sent_once;
  std::vector<std::uint32_t> newest;
  std::multimap<Instant, Packet> wire;
  std::multimap<Instant, Ack> acks;
  std::function<bool(std::uint32_t ordinal, std::uint32_t segment)> drop;
  std::function<bool(std::uint32_t ordinal)> drop_ack;
  std::function<Duration(std::uint32_t ordinal)> jitter;
  std::function<void()> check;
  Counts counts;
};

}  // namespace tidewire::tcp
