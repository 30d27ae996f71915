// The description of a network: what happens to packets on a link, for each direction.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "device/rate_trace.hpp"

namespace tidewire::device {

/// A probability as an exact integer: `per_2_32` out of 2^32. 2^32 itself is certainty.
struct Probability {
  static constexpr std::uint64_t kOne = std::uint64_t{1} << 32;
  std::uint64_t per_2_32 = 0;

  static constexpr Probability never() noexcept { return {0}; }
  static constexpr Probability always() noexcept { return {kOne}; }
  static constexpr Probability percent(std::uint64_t p) noexcept { return ratio(p, 100); }
  /// numerator / denominator, rounded to the nearest step, at most 1. `numerator` below 2^31.
  static constexpr Probability ratio(std::uint64_t numerator, std::uint64_t denominator) noexcept {
    if (numerator >= denominator) return always();
    return {(numerator * kOne + denominator / 2) / denominator};
  }
  friend constexpr auto operator<=>(Probability, Probability) noexcept = default;
};

/// The end of a Window that has none.
inline constexpr Duration kForEver = Duration::nanos(std::numeric_limits<std::int64_t>::max());

/// A stretch of the link's time line, [from, until), counted from the link's origin.
struct Window {
  Duration from;
  Duration until;
  friend constexpr bool operator==(const Window&, const Window&) noexcept = default;
};

/// How much may wait in front of a rate limit. Both 0: the default, what the rate carries in
/// 100 ms, but not less than 64 KiB.
struct QueueLimit {
  std::uint32_t packets = 0;
  std::uint64_t bytes = 0;
  friend constexpr bool operator==(const QueueLimit&, const QueueLimit&) noexcept = default;
};

/// Who decides about the packets in front of a rate, apart from the room there.
enum class QueueKind : std::uint8_t { drop_tail, codel, red };

/// CoDel's parameters (RFC 8289 §4.2, §4.3).
struct CodelSpec {
  Duration target = Duration::millis(5);      ///< wait that may stand
  Duration interval = Duration::millis(100);  ///< for so long before the first signal
  friend constexpr bool operator==(const CodelSpec&, const CodelSpec&) noexcept = default;
};

/// RED's parameters.
struct RedSpec {
  QueueLimit min;  ///< average length where signals start; both 0: a third of max
  QueueLimit max;  ///< where they have reached p; both 0: half the queue
  Probability p = Probability::percent(10);
  bool gentle = true;  ///< beyond max the chance rises on to 1 at twice max, else it is 1 there
  friend constexpr bool operator==(const RedSpec&, const RedSpec&) noexcept = default;
};

/// A link that comes and goes: dead for the last `dead` of every `period` since the origin.
struct Flap {
  Duration period;  ///< zero: it does not
  Duration dead;
  friend constexpr bool operator==(const Flap&, const Flap&) noexcept = default;
};

/// What one direction of a link does to packets. The default is a perfect link.
struct LinkSpec {
  Duration delay;                ///< one way
  Duration jitter;               ///< up to this much more
  bool jitter_reorders = false;  ///< the jitter of each packet stands alone: order is not kept
  Probability loss;              ///< share of the packets that are lost
  std::uint32_t burst = 1;       ///< losses come in runs of this many packets of a flow
  Probability ack_loss;          ///< share of the TCP segments that only acknowledge, lost as well
  std::uint64_t rate_bps = 0;    ///< bits per second; 0: unlimited
  SharedTrace trace;             ///< instead of a rate: when packets may leave
  QueueLimit queue;              ///< in front of the rate; what finds no room is dropped
  QueueKind aqm = QueueKind::drop_tail;
  CodelSpec codel;                  ///< counts for `QueueKind::codel`
  RedSpec red;                      ///< counts for `QueueKind::red`
  bool ecn = true;                  ///< the queue marks ECT packets where it would drop (RFC 3168)
  Probability reorder;              ///< overtaken by the next one to three packets
  Duration reorder_by;              ///< not zero: instead these are delayed by up to this much
  Probability duplicate;            ///< arrives twice
  Probability corrupt;              ///< one bit of the IP packet is inverted
  std::uint32_t mtu = 0;            ///< longer IP packets are dropped; 0: the medium's own
  std::uint32_t hole = 0;           ///< longer IP packets are lost, and no interface knows; 0: none
  std::vector<std::uint64_t> lose;  ///< ordinals (from 1) in each flow that are lost, ascending
  std::vector<Window> blackouts;    ///< everything sent in these is lost
  Flap flap;
  std::uint64_t dead_after = 0;  ///< bytes of IP packets; what is sent after them is lost; 0: never
  std::vector<Window> full;      ///< the device takes nothing in these

  /// The rate, or that of the trace on average; 0: unlimited.
  std::uint64_t average_bps() const noexcept { return trace ? trace->average_bps() : rate_bps; }

  /// True if packets may be delayed, dropped or changed.
  bool impairs() const noexcept { return !(*this == LinkSpec{}) && !only_mtu(); }
  friend bool operator==(const LinkSpec&, const LinkSpec&) noexcept = default;

 private:
  bool only_mtu() const noexcept {
    LinkSpec other;
    other.mtu = mtu;
    return *this == other;
  }
};

enum class Direction : std::uint8_t { up, down };

/// Both directions. `up` is from the host that the run is about towards the network.
struct NetSpec {
  LinkSpec up;
  LinkSpec down;

  bool impairs() const noexcept { return up.impairs() || down.impairs(); }
  friend bool operator==(const NetSpec&, const NetSpec&) noexcept = default;
};

/// The queue limit with its default filled in; both 0 without a rate.
QueueLimit resolve_queue(const LinkSpec& link) noexcept;
/// RED's parameters with their defaults filled in.
RedSpec resolve_red(const LinkSpec& link) noexcept;

/// Parses words such as `delay=20ms loss=1% up.rate=5mbit`. A word with `up.` or `down.` counts for
/// that direction and wins over the same word without. The error is one line that names the right
/// form of the word at fault.
/// `files` reads what a word names (trace=FILE): the text, or why not. Without it such words are
/// refused.
using FileReader = std::function<Result<std::string, std::string>(const std::string& name)>;
Result<NetSpec, std::string> parse_net_spec(std::string_view text, const FileReader& files = {});

/// The same for words that change `base`: what they do not name stays. Turning off what others
/// depend on (loss=0%, reorder=0%, aqm=droptail) takes these along.
Result<NetSpec, std::string> change_net_spec(const NetSpec& base, std::string_view text,
                                             const FileReader& files = {});

/// What is wrong with a description.
struct NetFault {
  std::string what{};      ///< one line that names the right form
  std::size_t column = 0;  ///< (from 1) where the word begins; 0: it is what words come to together
};
std::string to_string(const NetFault& fault);
/// As change_net_spec(), and tells where it is wrong.
Result<NetSpec, NetFault> read_net_spec(const NetSpec& base, std::string_view text,
                                        const FileReader& files = {});

/// What is wrong with one word, whatever stands beside it; nothing: nothing.
std::optional<std::string> check_net_word(std::string_view word, const FileReader& files = {});

/// The words that parse to `spec` again (windows in which a device takes nothing have no words and
/// are left out).
std::string to_string(const NetSpec& spec);

/// What --net accepts, one word a line, for help texts.
std::string_view net_spec_help() noexcept;

/// A network with a name, for `preset=NAME`.
struct NetPreset {
  std::string_view name;
  std::string_view words;   ///< as in a description
  std::string_view source;  ///< of the numbers
};
std::span<const NetPreset> net_presets() noexcept;

}  // namespace tidewire::device
