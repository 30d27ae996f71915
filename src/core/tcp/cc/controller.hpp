// What a congestion controller sees and decides.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "base/time.hpp"

namespace tidewire::tcp {

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

struct ControllerConfig {
  std::uint32_t mss = 536;           ///< payload bytes per full segment
  std::uint64_t initial_window = 0;  ///< bytes; 0: RFC 6928, 10 segments
  std::uint64_t initial_ssthresh = kNoLimit;
  Instant now{};
  std::uint64_t cwnd = 0;  ///< bytes to go on with on a live connection; 0: the initial window
  Duration srtt{};         ///< zero: not known
  Duration min_rtt{};      ///< zero: not known
  std::uint64_t seed = 0;  ///< for what an algorithm decides at random
  bool sack = true;        ///< false: one loss a round trip is all that can be seen

  constexpr std::uint64_t window() const noexcept {
    return initial_window != 0 ? initial_window : std::uint64_t{10} * mss;
  }
  constexpr std::uint64_t start() const noexcept { return cwnd != 0 ? cwnd : window(); }
};

/// All bytes are payload; "in flight" is the estimate of the loss detection.
struct SentSample {
  Instant now{};
  std::uint64_t bytes = 0;
  std::uint64_t in_flight = 0;  ///< after it
  bool retransmission = false;
  bool app_limited = false;  ///< the sender had run out of data before
};
struct AckSample {
  Instant now{};
  std::uint64_t acked = 0;      ///< by which snd.una moved
  std::uint64_t delivered = 0;  ///< newly acked or SACKed
  /// Bytes that count for growing the window: 0 on duplicate ACKs (RFC 3042 §2) and in recovery.
  std::uint64_t credit = 0;
  std::uint64_t lost = 0;             ///< newly deemed lost
  std::uint64_t ce_marked = 0;        ///< bytes the peer reported as CE marked
  std::uint64_t prior_in_flight = 0;  ///< before this ACK
  std::uint64_t in_flight = 0;
  Duration rtt{};                   ///< latest sample; zero: none with this ACK
  Duration srtt{};                  ///< zero: not known
  Duration min_rtt{};               ///< zero: not known
  std::uint64_t delivery_rate = 0;  ///< bytes per second; 0: no valid sample
  std::uint64_t total_delivered = 0;
  std::uint64_t prior_delivered = 0;  ///< total when the newest acked data was sent
  std::uint64_t rate_delivered = 0;   ///< bytes delivered since then
  std::uint64_t tx_in_flight = 0;     ///< bytes out when it was sent, itself included
  std::uint64_t lost_since = 0;       ///< bytes deemed lost since then
  Duration newest_rtt{};              ///< of that data; zero: none
  std::uint64_t snd_una_offset = 0;   ///< bytes acked since the connection began: rounds
  std::uint64_t snd_nxt_offset = 0;   ///< bytes sent since the connection began
  bool app_limited = false;           ///< the rate sample was
  bool cwnd_limited = false;          ///< the window was what held the sender back
  bool in_recovery = false;           ///< fast recovery: PRR decides what is sent
};
struct LossSample {
  Instant now{};
  std::uint64_t lost = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t tx_in_flight = 0;  ///< bytes out when lost data was sent, itself included
  std::uint64_t lost_since = 0;    ///< bytes deemed lost since then, `lost` included
  bool app_limited = false;        ///< it was sent while the application limited
};
struct RtoSample {
  Instant now{};
  std::uint64_t in_flight = 0;  ///< before the timeout
  bool first = true;            ///< RFC 5681 §3.1: false for a repeated timeout of the same data
};
struct EcnSample {
  Instant now{};
  std::uint64_t ce_marked = 0;
  std::uint64_t in_flight = 0;
  bool accurate = false;  ///< every mark is counted, in AckSample::ce_marked too
};
enum class RecoveryEdge : std::uint8_t {
  enter,  ///< reduce now, once
  exit,
};
struct RecoverySample {
  Instant now{};
  RecoveryEdge edge = RecoveryEdge::enter;
  std::uint64_t in_flight = 0;  ///< before the loss was deemed (FlightSize)
};
struct IdleSample {
  Instant now{};
  Duration idle{};
  Duration rto{};
};

struct ControllerStats {
  std::uint64_t window = 0;
  std::uint64_t ssthresh = kNoLimit;
  std::uint64_t pacing_rate = kNoLimit;
  const char* phase = "";  ///< "slow start", "avoidance", ...; a literal
};

/// A congestion control algorithm: gets self-contained events, answers with a window in bytes, a
/// pacing rate in bytes per second (kNoLimit: unpaced) and, on entering recovery, a ssthresh. It
/// has no way back to the connection. Trivially copyable, so that it can be switched and kept.
template <typename C>
concept Controller = std::is_trivially_copyable_v<C> && std::is_trivially_destructible_v<C> &&
                     requires(C c, const C k) {
                       { c.on_sent(SentSample{}) } noexcept;
                       { c.on_ack(AckSample{}) } noexcept;
                       { c.on_loss(LossSample{}) } noexcept;
                       { c.on_rto(RtoSample{}) } noexcept;
                       { c.on_ecn(EcnSample{}) } noexcept;
                       { c.on_recovery(RecoverySample{}) } noexcept;
                       { c.on_spurious(Instant{}) } noexcept;
                       { c.on_idle_restart(IdleSample{}) } noexcept;
                       { c.on_mss(std::uint32_t{}) } noexcept;
                       { k.window() } noexcept -> std::same_as<std::uint64_t>;
                       { k.ssthresh() } noexcept -> std::same_as<std::uint64_t>;
                       { k.pacing_rate() } noexcept -> std::same_as<std::uint64_t>;
                       { k.stats() } noexcept -> std::same_as<ControllerStats>;
                       { k.uses_prr() } noexcept -> std::same_as<bool>;
                       { k.paces() } noexcept -> std::same_as<bool>;
                     };

/// One that has little to learn from an ACK whose sender the window did not hold back, outside of
/// recovery: on_quiet_ack() does what on_ack() would, told only when, and the smoothed RTT.
template <typename C>
concept QuietController = Controller<C> && requires(C c) {
  { c.on_quiet_ack(Instant{}, Duration{}) } noexcept;
};

/// Any controller, held inline; copyable like the controller itself.
class AnyController {
 public:
  static constexpr std::size_t kCapacity = 384;

  template <Controller C>
  explicit AnyController(const C& controller) noexcept : calls_(&kCalls<C>) {
    static_assert(sizeof(C) <= kCapacity && alignof(C) <= alignof(std::max_align_t));
    ::new (static_cast<void*>(storage_)) C(controller);
  }

  void on_sent(const SentSample& s) noexcept { calls_->on_sent(storage_, s); }
  void on_ack(const AckSample& s) noexcept { calls_->on_ack(storage_, s); }
  /// True: that was all there is to it. False: on_ack() is to be told.
  bool on_quiet_ack(Instant now, Duration srtt) noexcept {
    if (calls_->on_quiet_ack == nullptr) return false;
    calls_->on_quiet_ack(storage_, now, srtt);
    return true;
  }
  void on_loss(const LossSample& s) noexcept { calls_->on_loss(storage_, s); }
  void on_rto(const RtoSample& s) noexcept { calls_->on_rto(storage_, s); }
  void on_ecn(const EcnSample& s) noexcept { calls_->on_ecn(storage_, s); }
  void on_recovery(const RecoverySample& s) noexcept { calls_->on_recovery(storage_, s); }
  /// The last reduction was a mistake: go back to the state before it.
  void on_spurious(Instant now) noexcept { calls_->on_spurious(storage_, now); }
  void on_idle_restart(const IdleSample& s) noexcept { calls_->on_idle_restart(storage_, s); }
  void on_mss(std::uint32_t mss) noexcept { calls_->on_mss(storage_, mss); }

  std::uint64_t window() const noexcept { return calls_->window(storage_); }
  /// After on_recovery(enter): what PRR aims at.
  std::uint64_t ssthresh() const noexcept { return calls_->ssthresh(storage_); }
  std::uint64_t pacing_rate() const noexcept { return calls_->pacing_rate(storage_); }
  ControllerStats stats() const noexcept { return calls_->stats(storage_); }
  bool uses_prr() const noexcept { return calls_->uses_prr(storage_); }
  /// True: sends no faster than pacing_rate(). False: that rate is only what a socket's own limit
  /// is held against.
  bool paces() const noexcept { return calls_->paces(storage_); }

 private:
  struct Calls {
    void (*on_sent)(void*, const SentSample&) noexcept;
    void (*on_ack)(void*, const AckSample&) noexcept;
    void (*on_quiet_ack)(void*, Instant, Duration) noexcept;  ///< null: none
    void (*on_loss)(void*, const LossSample&) noexcept;
    void (*on_rto)(void*, const RtoSample&) noexcept;
    void (*on_ecn)(void*, const EcnSample&) noexcept;
    void (*on_recovery)(void*, const RecoverySample&) noexcept;
    void (*on_spurious)(void*, Instant) noexcept;
    void (*on_idle_restart)(void*, const IdleSample&) noexcept;
    void (*on_mss)(void*, std::uint32_t) noexcept;
    std::uint64_t (*window)(const void*) noexcept;
    std::uint64_t (*ssthresh)(const void*) noexcept;
    std::uint64_t (*pacing_rate)(const void*) noexcept;
    ControllerStats (*stats)(const void*) noexcept;
    bool (*uses_prr)(const void*) noexcept;
    bool (*paces)(const void*) noexcept;
  };
  template <typename C>
  static C& self(void* p) noexcept {
    return *std::launder(static_cast<C*>(p));
  }
  template <typename C>
  static const C& self(const void* p) noexcept {
    return *std::launder(static_cast<const C*>(p));
  }
  template <typename C>
  static constexpr auto quiet_call() noexcept -> void (*)(void*, Instant, Duration) noexcept {
    if constexpr (QuietController<C>) {
      return
          [](void* p, Instant now, Duration srtt) noexcept { self<C>(p).on_quiet_ack(now, srtt); };
    } else {
      return nullptr;
    }
  }
  template <typename C>
  static constexpr Calls kCalls{
      [](void* p, const SentSample& s) noexcept { self<C>(p).on_sent(s); },
      [](void* p, const AckSample& s) noexcept { self<C>(p).on_ack(s); },
      quiet_call<C>(),
      [](void* p, const LossSample& s) noexcept { self<C>(p).on_loss(s); },
      [](void* p, const RtoSample& s) noexcept { self<C>(p).on_rto(s); },
      [](void* p, const EcnSample& s) noexcept { self<C>(p).on_ecn(s); },
      [](void* p, const RecoverySample& s) noexcept { self<C>(p).on_recovery(s); },
      [](void* p, Instant now) noexcept { self<C>(p).on_spurious(now); },
      [](void* p, const IdleSample& s) noexcept { self<C>(p).on_idle_restart(s); },
      [](void* p, std::uint32_t mss) noexcept { self<C>(p).on_mss(mss); },
      [](const void* p) noexcept { return self<C>(p).window(); },
      [](const void* p) noexcept { return self<C>(p).ssthresh(); },
      [](const void* p) noexcept { return self<C>(p).pacing_rate(); },
      [](const void* p) noexcept { return self<C>(p).stats(); },
      [](const void* p) noexcept { return self<C>(p).uses_prr(); },
      [](const void* p) noexcept { return self<C>(p).paces(); },
  };

  const Calls* calls_;
  alignas(std::max_align_t) std::byte storage_[kCapacity];
};

}  // namespace tidewire::tcp
