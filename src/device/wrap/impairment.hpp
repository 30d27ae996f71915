// The one impairment engine: what happens to each packet of one direction of a link, in virtual and
// in real time alike.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/random.hpp"
#include "base/time.hpp"
#include "device/net_spec.hpp"
#include "device/wrap/aqm.hpp"
#include "device/wrap/flow_table.hpp"
#include "device/wrap/frame_store.hpp"

namespace tidewire::device {

/// What can happen to a packet apart from arriving.
enum class Impact : std::uint8_t {
  lost,         ///< by the loss rate
  lost_listed,  ///< by the list of ordinals
  blackout,
  queue_full,   ///< no room in front of the rate
  queue_early,  ///< dropped by an active queue (CoDel, RED) that had room
  too_big,      ///< longer than the MTU
  no_memory,    ///< no buffer
  reordered,    ///< arrives after later packets, or by its jitter before earlier ones
  duplicated,   ///< arrives twice
  corrupted,    ///< arrives with an inverted bit
  marked,       ///< arrives with CE, set by an active queue
  count_,
};
std::string_view to_string(Impact impact) noexcept;
constexpr bool is_drop(Impact impact) noexcept { return impact < Impact::reordered; }

/// One impact, for live prints, captures and summaries.
struct ImpactRecord {
  Instant at;
  Direction direction = Direction::up;
  Impact impact = Impact::lost;
  std::uint32_t flow_number = 0;  ///< from 1: the n-th flow towards its destination
  std::uint64_t ordinal = 0;      ///< from 1: the n-th packet of that flow in this direction
  Medium medium = Medium::ethernet;
  Bytes frame;  ///< as sent; valid during the call
};

class ImpactObserver {
 public:
  virtual void on_impact(const ImpactRecord& record) noexcept = 0;

 protected:
  ImpactObserver() = default;
  ImpactObserver(const ImpactObserver&) = default;
  ImpactObserver& operator=(const ImpactObserver&) = default;
  ~ImpactObserver() = default;
};

struct LinkCounters {
  std::uint64_t packets = 0, bytes = 0;  ///< offered
  std::uint64_t delivered = 0;           ///< duplicates included
  std::array<std::uint64_t, static_cast<std::size_t>(Impact::count_)> impacts{};

  std::uint64_t of(Impact impact) const noexcept {
    return impacts[static_cast<std::size_t>(impact)];
  }
  std::uint64_t dropped() const noexcept;
};

/// What is to be done with one packet.
struct Fate {
  bool dropped = false;
  Impact why = Impact::lost;  ///< if dropped
  bool waits = false;         ///< what is more to be told comes from Impairment::next_leaving()
  bool marked = false;        ///< an active queue sets CE
  Instant release;            ///< when it arrives
  bool duplicate = false;
  bool reordered = false;          ///< it does not arrive in the order sent
  std::uint32_t overtaken_by = 0;  ///< not 0: it arrives after this many later packets
  std::uint64_t corrupt = 0;       ///< not 0: a hash that chooses the bit
  std::uint32_t flow_number = 0;
  std::uint64_t ordinal = 0;
  Duration extra;  ///< its jitter, within `release`
  Duration late;   ///< more, which the order of others does not follow; within `release`
};

/// Decides. Loss, duplication, reordering, corruption and jitter are a hash of (seed, direction,
/// flow number towards the destination, ordinal in the flow) and nothing else; queue and rate
/// follow from the times of arrival.
class Impairment {
 public:
  /// `flows` is shared by both directions of a link and outlives this. Windows of the spec count
  /// from `origin`.
  Impairment(const LinkSpec& spec, Direction direction, const RandomSeed& seed, FlowTable& flows,
             Instant origin);

  /// Decides about a packet that is sent `now`; `frame_size` counts for the rate, `ip_size` for the
  /// MTU. What has left by then has to be asked for first. A packet that waits (of a CoDel queue)
  /// has room there, and its owner keeps it; if it is dropped as well, it goes no further in the
  /// end.
  Fate decide(const PacketKey& packet, std::size_t frame_size, std::size_t ip_size, Instant now);
  /// The oldest packet that waits, once it has left the queue by `now`, one way or the other.
  std::optional<Fate> next_leaving(Instant now);
  /// When that will be; never if none waits.
  Instant next_leave_time() const noexcept {
    return parked_.empty() ? Instant::never() : busy_until_;
  }

  /// When the device-full window that holds `now` ends; nothing if the device takes packets.
  Instant full_until(Instant now) const noexcept;
  const LinkSpec& spec() const noexcept { return spec_; }
  Direction direction() const noexcept { return direction_; }
  /// How long a packet that arrives `now` waits for those before it.
  Duration queue_delay(Instant now) const noexcept;
  /// Another description from now on; what is under way keeps its time, and the order stays.
  void set_spec(const LinkSpec& spec);
  /// No packet that goes through decide() arrives before this.
  Instant last_release() const noexcept { return last_release_; }
  /// The path is another one from now on, likewise.
  /// `rate_bps` is not 0 where it was not, and 0 where it was.
  void set_path(Duration delay, std::uint64_t rate_bps) noexcept {
    spec_.delay = delay;
    if ((spec_.rate_bps == 0) == (rate_bps == 0)) spec_.rate_bps = rate_bps;
  }

 private:
  struct Waiting {
    Instant starts;
    std::uint32_t size = 0;
  };
  /// In a queue that looks at what leaves.
  struct Parked {
    Instant since;
    Fate fate;
    std::uint32_t size = 0;
    bool can_mark = false;
  };

  std::uint64_t draw(const Flow& flow, std::uint64_t purpose) const noexcept;
  bool loses(Flow& flow, Impact& why) const;
  bool loses_ack(const Flow& flow, Impact& why) const noexcept;
  bool is_dead(std::size_t ip_size, Instant now) noexcept;
  /// Whether the packet finds room, and when it will have left.
  bool enqueue(std::size_t size, Instant now);
  bool falls(const Flow& flow, Probability p, std::uint64_t purpose) const noexcept;
  Duration up_to(const Flow& flow, Duration most, std::uint64_t purpose) const noexcept;
  bool has_room(std::size_t size, std::size_t packets, std::uint64_t bytes) const noexcept;
  void transmit(std::size_t size) noexcept;
  void transmit_by_trace(std::size_t size) noexcept;
  void forget_sent(Instant now);
  /// RED's word on an arriving packet; false: dropped.
  bool red_passes(Fate& fate, const Flow& flow, const PacketKey& packet, Instant now);
  bool park(const Fate& fate, const PacketKey& packet, std::size_t size, Instant now);
  void draw_fate(Fate& fate, const Flow& flow, const PacketKey& packet) const noexcept;
  Fate arrival(Fate fate) noexcept;

  LinkSpec spec_;
  Direction direction_;
  RandomSeed seed_;
  FlowTable& flows_;
  Instant origin_;
  Probability burst_start_;  ///< chance that a run of losses starts at a packet
  QueueLimit limit_;         ///< of the queue; both 0: none
  Codel codel_;
  Red red_;
  RingQueue<Parked> parked_;
  std::uint64_t parked_bytes_ = 0;
  RingQueue<Waiting> waiting_;  ///< for the transmitter
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t offered_ = 0;           ///< bytes of IP packets
  std::uint64_t opportunities_ = 0;     ///< of the trace: all before and the one in use
  std::uint32_t opportunity_left_ = 0;  ///< bytes the one in use still carries
  Instant busy_until_ = Instant::from_nanos(INT64_MIN);
  Instant last_release_ = Instant::from_nanos(INT64_MIN);
};

}  // namespace tidewire::device
