#include "device/wrap/impairment.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::device {
namespace {

enum Purpose : std::uint64_t {
  kLoss = 1,
  kOrder,
  kDuplicate,
  kCorrupt,
  kCorruptBit,
  kJitter,
  kLate,
  kRed,
  kAckLoss
};

bool hit(std::uint64_t hash, Probability p) noexcept { return (hash >> 32) < p.per_2_32; }

/// The chance p that a run of `burst` losses starts at a packet, so that a share of `loss` is lost
/// in all: 1 - (1 - p)^burst = loss.
Probability start_chance(Probability loss, std::uint32_t burst) noexcept {
  if (burst <= 1 || loss == Probability::always()) return loss;
  std::uint64_t low = 0;
  std::uint64_t high = loss.per_2_32;
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    const bool enough =
        Probability::kOne - power_of_fraction(Probability::kOne - middle, burst) >= loss.per_2_32;
    (enough ? high : low) = enough ? middle : middle + 1;
  }
  return {low};
}

bool inside(const Window& window, Duration since_origin) noexcept {
  return window.from <= since_origin && since_origin < window.until;
}

}  // namespace

std::string_view to_string(Impact impact) noexcept {
  constexpr std::array<std::string_view, static_cast<std::size_t>(Impact::count_)> kNames{
      "lost",      "lost_listed", "blackout",   "queue_full", "queue_early", "too_big",
      "no_memory", "reordered",   "duplicated", "corrupted",  "marked"};
  const auto i = static_cast<std::size_t>(impact);
  return i < kNames.size() ? kNames[i] : "unknown";
}

std::uint64_t LinkCounters::dropped() const noexcept {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < impacts.size(); ++i) {
    if (is_drop(static_cast<Impact>(i))) total += impacts[i];
  }
  return total;
}

Impairment::Impairment(const LinkSpec& spec, Direction direction, const RandomSeed& seed,
                       FlowTable& flows, Instant origin)
    : spec_(spec),
      direction_(direction),
      seed_(derive(seed, static_cast<std::uint64_t>(direction))),
      flows_(flows),
      origin_(origin),
      burst_start_(start_chance(spec.loss, spec.burst)),
      limit_(resolve_queue(spec)),
      codel_(spec.codel),
      red_(resolve_red(spec)) {}

void Impairment::set_spec(const LinkSpec& spec) {
  if (spec.aqm != spec_.aqm || spec.codel != spec_.codel) codel_ = Codel(spec.codel);
  const RedSpec red = resolve_red(spec);
  if (spec.aqm != spec_.aqm || red != resolve_red(spec_)) red_ = Red(red);
  if (spec.trace != spec_.trace) opportunities_ = opportunity_left_ = 0;
  spec_ = spec;
  burst_start_ = start_chance(spec.loss, spec.burst);
  limit_ = resolve_queue(spec);
}

std::uint64_t Impairment::draw(const Flow& flow, std::uint64_t purpose) const noexcept {
  return siphash13(seed_, flow.identity, flow.packets[static_cast<std::size_t>(direction_)],
                   purpose);
}

bool Impairment::loses(Flow& flow, Impact& why) const {
  const auto side = static_cast<std::size_t>(direction_);
  if (std::ranges::binary_search(spec_.lose, flow.packets[side])) {
    why = Impact::lost_listed;
    return true;
  }
  if (burst_start_ == Probability::never()) {
    flow.burst_left[side] = 0;
  } else if (hit(draw(flow, kLoss), burst_start_)) {
    flow.burst_left[side] = spec_.burst;
  }
  if (flow.burst_left[side] == 0) return false;
  --flow.burst_left[side];
  why = Impact::lost;
  return true;
}

bool Impairment::loses_ack(const Flow& flow, Impact& why) const noexcept {
  if (!falls(flow, spec_.ack_loss, kAckLoss)) return false;
  why = Impact::lost;
  return true;
}

/// Counts the packet.
bool Impairment::is_dead(std::size_t ip_size, Instant now) noexcept {
  const Duration at = now - origin_;
  offered_ += ip_size;
  if (spec_.dead_after != 0 && offered_ > spec_.dead_after) return true;
  if (spec_.flap.period > Duration::zero()) {
    const std::int64_t period = spec_.flap.period.count_nanos();
    if (at.count_nanos() % period >= period - spec_.flap.dead.count_nanos()) return true;
  }
  return std::ranges::any_of(spec_.blackouts, [at](const Window& w) { return inside(w, at); });
}

bool Impairment::has_room(std::size_t size, std::size_t packets,
                          std::uint64_t bytes) const noexcept {
  if (limit_.packets != 0 && packets >= limit_.packets) return false;
  return limit_.bytes == 0 || bytes + size <= limit_.bytes;
}

/// What is left of an opportunity is for the next packet, if it is there in time.
void Impairment::transmit_by_trace(std::size_t size) noexcept {
  const RateTrace& trace = *spec_.trace;
  const std::uint64_t first = trace.first_from(busy_until_ - origin_);
  if (first >= opportunities_) {
    opportunities_ = first + 1;
    opportunity_left_ = RateTrace::kBytes;
  }
  while (size > opportunity_left_) {
    size -= opportunity_left_;
    ++opportunities_;
    opportunity_left_ = RateTrace::kBytes;
  }
  opportunity_left_ -= static_cast<std::uint32_t>(size);
  busy_until_ = origin_ + trace.opportunity(opportunities_ - 1);
}

void Impairment::transmit(std::size_t size) noexcept {
  if (spec_.trace) return transmit_by_trace(size);
  if (spec_.rate_bps == 0) return;
  const std::uint64_t bit_nanos = std::uint64_t{size} * 8'000'000'000U;
  busy_until_ +=
      Duration::nanos(static_cast<std::int64_t>((bit_nanos + spec_.rate_bps - 1) / spec_.rate_bps));
}

void Impairment::forget_sent(Instant now) {
  while (!waiting_.empty() && waiting_.front().starts <= now) {
    waiting_bytes_ -= waiting_.front().size;
    waiting_.pop_front();
  }
}

bool Impairment::enqueue(std::size_t size, Instant now) {
  if (spec_.average_bps() == 0) {
    busy_until_ = now;
    return true;
  }
  forget_sent(now);
  if (busy_until_ > now) {  // it has to wait
    if (!has_room(size, waiting_.size(), waiting_bytes_)) return false;
    waiting_.push_back({busy_until_, static_cast<std::uint32_t>(size)});
    waiting_bytes_ += size;
  } else {
    busy_until_ = now;
  }
  transmit(size);
  return true;
}

bool Impairment::falls(const Flow& flow, Probability p, std::uint64_t purpose) const noexcept {
  return p != Probability::never() && hit(draw(flow, purpose), p);
}

Duration Impairment::up_to(const Flow& flow, Duration most, std::uint64_t purpose) const noexcept {
  const auto span = static_cast<std::uint64_t>(most.count_nanos()) + 1;
  return Duration::nanos(static_cast<std::int64_t>(draw(flow, purpose) % span));
}

bool Impairment::red_passes(Fate& fate, const Flow& flow, const PacketKey& packet, Instant now) {
  constexpr std::uint64_t kTypicalBits = 1000 * 8;
  forget_sent(now);
  std::uint64_t idle_packets = 0;
  if (busy_until_ <= now) {
    const auto idle = static_cast<std::uint64_t>((now - busy_until_).count_nanos());
    idle_packets = 1 + mul_div(idle, spec_.average_bps(), kTypicalBits * 1'000'000'000U);
  }
  const std::uint64_t length = red_.in_packets() ? waiting_.size() : waiting_bytes_;
  const bool can_mark = spec_.ecn && packet.ecn != wire::Ecn::not_ect;
  const QueueVerdict verdict = red_.arrives(length, idle_packets, draw(flow, kRed), can_mark);
  fate.marked = verdict == QueueVerdict::mark;
  return verdict != QueueVerdict::drop;
}

bool Impairment::park(const Fate& fate, const PacketKey& packet, std::size_t size, Instant now) {
  if (!has_room(size, parked_.size(), parked_bytes_)) return false;
  const bool can_mark = spec_.ecn && packet.ecn != wire::Ecn::not_ect;
  parked_.push_back({now, fate, static_cast<std::uint32_t>(size), can_mark});
  parked_bytes_ += size;
  return true;
}

std::optional<Fate> Impairment::next_leaving(Instant now) {
  if (parked_.empty() || busy_until_ > now) return std::nullopt;
  const Parked packet = parked_.front();
  parked_.pop_front();
  parked_bytes_ -= packet.size;
  Fate fate = packet.fate;
  fate.waits = false;
  QueueVerdict verdict = QueueVerdict::pass;
  if (spec_.aqm == QueueKind::codel) {
    verdict = codel_.leaves(busy_until_ - packet.since, packet.size, parked_bytes_, packet.can_mark,
                            busy_until_);
  }
  if (parked_.empty()) codel_.on_empty();
  if (verdict == QueueVerdict::drop) {
    if (!fate.dropped) fate.why = Impact::queue_early;
    fate.dropped = true;
    return fate;
  }
  transmit(packet.size);
  if (fate.dropped) return fate;
  fate.marked = verdict == QueueVerdict::mark;
  return arrival(fate);
}

/// The end of a packet's way, which leaves the transmitter at busy_until_.
Fate Impairment::arrival(Fate fate) noexcept {
  const bool strays = fate.reordered;
  fate.release = busy_until_ + spec_.delay + fate.extra;
  if (!spec_.jitter_reorders) {
    fate.release = later(fate.release, last_release_);
  } else if (fate.release < last_release_) {
    fate.reordered = true;
  }
  if (!strays) last_release_ = later(fate.release, last_release_);
  fate.release += fate.late;
  return fate;
}

Fate Impairment::decide(const PacketKey& packet, std::size_t frame_size, std::size_t ip_size,
                        Instant now) {
  Flow& flow = flows_.count(packet, direction_);
  Fate fate;
  fate.flow_number = flow.number;
  fate.ordinal = flow.packets[static_cast<std::size_t>(direction_)];
  // A run of losses goes on even if its packets die of something else.
  const bool lost = loses(flow, fate.why) || (packet.only_acks && loses_ack(flow, fate.why));
  const bool dead = is_dead(ip_size, now);
  const auto dropped = [&fate](Impact why) {
    fate.dropped = true;
    fate.why = why;
    return fate;
  };
  if (packet.is_ip && spec_.mtu != 0 && ip_size > spec_.mtu) return dropped(Impact::too_big);
  if (packet.is_ip && spec_.hole != 0 && ip_size > spec_.hole) return dropped(Impact::too_big);
  if (spec_.aqm == QueueKind::red && !red_passes(fate, flow, packet, now)) {
    return dropped(Impact::queue_early);
  }
  // Those that waited for CoDel leave first, even if the queue is another one by now.
  fate.waits = !parked_.empty() || (spec_.aqm == QueueKind::codel && busy_until_ > now);
  if (!fate.waits && !enqueue(frame_size, now)) return dropped(Impact::queue_full);
  if (spec_.aqm == QueueKind::codel && !fate.waits) {
    codel_.leaves(Duration::zero(), frame_size, 0, false, now);
  }
  fate.dropped = lost;
  if (dead) dropped(Impact::blackout);
  if (!fate.dropped) draw_fate(fate, flow, packet);
  if (fate.waits && !park(fate, packet, frame_size, now)) {
    fate.waits = false;
    return dropped(Impact::queue_full);
  }
  return fate.waits || fate.dropped ? fate : arrival(fate);
}

void Impairment::draw_fate(Fate& fate, const Flow& flow, const PacketKey& packet) const noexcept {
  if (spec_.jitter > Duration::zero()) fate.extra = up_to(flow, spec_.jitter, kJitter);
  if (falls(flow, spec_.reorder, kOrder)) {
    fate.reordered = true;
    if (spec_.reorder_by > Duration::zero()) {
      fate.late = up_to(flow, spec_.reorder_by, kLate);
    } else {
      fate.overtaken_by = 1 + static_cast<std::uint32_t>((draw(flow, kOrder) & 0xffffffffU) % 3);
    }
  }
  fate.duplicate = falls(flow, spec_.duplicate, kDuplicate);
  if (packet.is_ip && falls(flow, spec_.corrupt, kCorrupt)) {
    fate.corrupt = draw(flow, kCorruptBit) | 1U << 31;
  }
}

Duration Impairment::queue_delay(Instant now) const noexcept {
  const std::uint64_t rate = spec_.average_bps();
  if (rate == 0) return {};
  const std::uint64_t nanos = mul_div(parked_bytes_ * 8, 1'000'000'000, rate);
  const Duration sending = busy_until_ > now ? busy_until_ - now : Duration::zero();
  return sending + Duration::nanos(static_cast<std::int64_t>(nanos));
}

Instant Impairment::full_until(Instant now) const noexcept {
  for (const Window& window : spec_.full) {
    if (inside(window, now - origin_)) return origin_ + window.until;
  }
  return now;
}

}  // namespace tidewire::device
