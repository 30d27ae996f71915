// The multicast groups this host has joined, and how it tells routers of them (RFC 3376; RFC 2236
// and RFC 1112 towards routers that speak an older version).
#pragma once

#include <cstdint>
#include <span>

#include "base/vec.hpp"
#include "core/context.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"
#include "wire/igmp.hpp"

namespace tidewire::ip {

/// Sends IGMP messages, with TTL 1 and the router alert option. Nothing leaves on loopback.
class IgmpActions {
 public:
  virtual void send_v3_report(InterfaceId interface,
                              std::span<const wire::IgmpRecord> records) noexcept = 0;
  virtual void send_old(InterfaceId interface, const wire::IgmpRepr& message) noexcept = 0;

 protected:
  ~IgmpActions() = default;
};

class Igmp {
 public:
  Igmp(Context& context, IgmpActions& actions) noexcept
      : context_(context), actions_(actions), groups_(context.memory), queriers_(context.memory) {}
  Igmp(const Igmp&) = delete;
  Igmp& operator=(const Igmp&) = delete;

  /// False: no memory. Every join is undone by one leave.
  bool join(const IpAddress& group, InterfaceId interface) noexcept;
  void leave(const IpAddress& group, InterfaceId interface) noexcept;
  /// True if somebody has joined, on this or (kNoInterface) on any interface.
  bool is_member(const IpAddress& group, InterfaceId interface) const noexcept;

  void on_message(InterfaceId interface, const wire::IgmpView& message) noexcept;

  Instant next_deadline() const noexcept {
    return groups_.empty() && queriers_.empty() ? Instant::never() : first_deadline();
  }
  /// At most `limit` reports; returns how many.
  std::uint32_t on_timeout(std::uint32_t limit) noexcept;

 private:
  struct Group {
    IpAddress address;
    InterfaceId interface = kNoInterface;
    std::uint32_t users = 0;               ///< 0: only kept to repeat that it was left
    std::uint8_t repeats = 0;              ///< of the last change, still to be sent
    Instant change_at = Instant::never();  ///< next repeat
    Instant answer_at = Instant::never();  ///< answer to a query
  };
  /// What an interface has heard of its querier.
  struct Querier {
    InterfaceId interface = kNoInterface;
    Instant v1_until, v2_until;            ///< older version querier present
    Instant answer_at = Instant::never();  ///< answer to a general query
  };

  Group* find(const IpAddress& group, InterfaceId interface) noexcept;
  Querier* querier(InterfaceId interface) noexcept;
  std::uint8_t version(InterfaceId interface) noexcept;
  void on_query(InterfaceId interface, const wire::IgmpView& message) noexcept;
  void on_report(InterfaceId interface, const wire::IgmpView& message) noexcept;
  void announce(Group& group) noexcept;
  void send_change(const Group& group) noexcept;
  void send_state(const Group& group) noexcept;
  void send_all(InterfaceId interface) noexcept;
  Instant within(Duration most) noexcept;
  Instant first_deadline() const noexcept;

  Context& context_;
  IgmpActions& actions_;
  Vec<Group> groups_;
  Vec<Querier> queriers_;
};

}  // namespace tidewire::ip
