// TCP Fast Open (RFC 7413): the cookies a server makes, and those a client remembers.
#pragma once

#include <cstdint>
#include <optional>

#include "base/flat_map.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"
#include "core/context.hpp"
#include "core/tcp/tuple.hpp"
#include "wire/tcp_options.hpp"

namespace tidewire::tcp {

/// A server's keys (TCP_FASTOPEN_KEY). Cookies are made with the first; those of the second are
/// still good, so that keys can be changed.
struct FastOpenKeys {
  static constexpr std::size_t kKeyOctets = 16;

  RandomSeed primary;
  std::optional<RandomSeed> backup;

  /// 16 octets, or 32 with an older key; empty: another size.
  static std::optional<FastOpenKeys> read(Bytes octets) noexcept;
};

//= RFC 7413 §4.1.2
/// The cookie of the host at `tuple.remote`, 8 octets.
wire::FastOpenCookie make_fast_open_cookie(const RandomSeed& key, const Tuple& tuple) noexcept;

enum class CookieVerdict : std::uint8_t {
  bad,
  good,
  good_backup,  ///< made with the old key: the peer should get a new one
};
CookieVerdict check_fast_open_cookie(const FastOpenKeys& keys, const Tuple& tuple,
                                     const wire::FastOpenCookie& cookie) noexcept;

//= RFC 7413 §4.1.3
/// What a client knows of servers it has talked to. Bounded; the one unused for longest goes first.
class FastOpen {
 public:
  explicit FastOpen(Context& context) noexcept;
  ~FastOpen();
  FastOpen(const FastOpen&) = delete;
  FastOpen& operator=(const FastOpen&) = delete;

  const FastOpenKeys& keys() const noexcept { return keys_; }
  void set_keys(const FastOpenKeys& keys) noexcept { keys_ = keys; }

  struct Known {
    /// What a SYN carries: a cookie, or the request for one (size 0).
    wire::FastOpenCookie cookie;
    std::uint16_t mss = 0;  ///< the server's; 0: not known
    bool refused = false;   ///< data in SYNs was lost twice: a plain SYN for a while
  };
  Known find(const Tuple& tuple) noexcept;

  /// How a handshake whose SYN carried the option has ended.
  struct Outcome {
    std::uint16_t mss = 0;                       ///< of the SYN-ACK
    std::optional<wire::FastOpenCookie> cookie;  ///< a new one
    bool data_lost = false;        ///< only the SYN without data and option was answered
    bool request_ignored = false;  ///< a cookie was asked for, and none came
    bool experimental = false;     ///< the form in which it was asked for
  };
  void learn(const Tuple& tuple, const Outcome& outcome) noexcept;
  void forget() noexcept;
  std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct AgeTag {};
  /// Per pair of addresses, as a host with several has a cookie for each.
  struct Key {
    std::array<std::uint8_t, 16> local{};
    std::array<std::uint8_t, 16> remote{};
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::uint64_t operator()(const RandomSeed& seed, const Key& key) const noexcept;
  };
  struct Entry : ListNode<AgeTag> {
    Key key;
    wire::FastOpenCookie cookie{};
    std::uint16_t mss = 0;
    std::uint8_t losses = 0;  ///< in a row
    enum class Form : std::uint8_t {
      standard,
      experimental,  ///< RFC 7413's was ignored: the old one next
      settled,       ///< so was the old one: RFC 7413's for ever
    };
    Form form = Form::standard;
    Instant last_loss;
  };
  Entry* entry(const Key& key) noexcept;
  Entry* make_entry(const Key& key) noexcept;

  Context& context_;
  FastOpenKeys keys_;
  Slab<Entry> entries_;
  FlatMap<Key, std::uint32_t, KeyHash> index_;
  List<Entry, AgeTag> by_age_;
};

}  // namespace tidewire::tcp
