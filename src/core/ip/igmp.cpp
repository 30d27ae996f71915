#include "core/ip/igmp.hpp"

#include <algorithm>
#include <array>

namespace tidewire::ip {
namespace {

// RFC 3376 §8.
constexpr std::uint8_t kRobustness = 2;
constexpr Duration kUnsolicitedInterval = Duration::seconds(1);
constexpr Duration kQueryInterval = Duration::seconds(125);
// RFC 2236 §8.10: version 1 and 2 hosts repeat more slowly.
constexpr Duration kOldUnsolicitedInterval = Duration::seconds(10);

constexpr IpAddress kAllHosts = IpAddress::v4(224, 0, 0, 1);

}  // namespace

Igmp::Group* Igmp::find(const IpAddress& group, InterfaceId interface) noexcept {
  for (Group& entry : groups_) {
    if (entry.interface == interface && entry.address == group) return &entry;
  }
  return nullptr;
}

Igmp::Querier* Igmp::querier(InterfaceId interface) noexcept {
  for (Querier& entry : queriers_) {
    if (entry.interface == interface) return &entry;
  }
  Querier fresh;
  fresh.interface = interface;
  fresh.v1_until = fresh.v2_until = context_.now;
  return queriers_.push_back(fresh) ? queriers_.end() - 1 : nullptr;
}

//= RFC 3376 §7.2.1
std::uint8_t Igmp::version(InterfaceId interface) noexcept {
  for (const Querier& entry : queriers_) {
    if (entry.interface != interface) continue;
    if (entry.v1_until > context_.now) return 1;
    if (entry.v2_until > context_.now) return 2;
  }
  return 3;
}

Instant Igmp::within(Duration most) noexcept {
  const auto bound = static_cast<std::uint64_t>(std::max<std::int64_t>(1, most.count_nanos()));
  return context_.now + Duration::nanos(static_cast<std::int64_t>(context_.rng.below(bound)));
}

bool Igmp::is_member(const IpAddress& group, InterfaceId interface) const noexcept {
  return std::ranges::any_of(groups_, [&](const Group& entry) {
    return entry.users != 0 && entry.address == group &&
           (interface == kNoInterface || interface == entry.interface);
  });
}

//= RFC 3376 §5.1
bool Igmp::join(const IpAddress& group, InterfaceId interface) noexcept {
  Group* entry = find(group, interface);
  if (entry == nullptr) {
    Group fresh;
    fresh.address = group;
    fresh.interface = interface;
    if (!groups_.push_back(fresh)) return false;
    entry = groups_.end() - 1;
  }
  if (entry->users++ == 0) announce(*entry);
  return true;
}

void Igmp::leave(const IpAddress& group, InterfaceId interface) noexcept {
  Group* entry = find(group, interface);
  if (entry == nullptr || entry->users == 0 || --entry->users != 0) return;
  entry->answer_at = Instant::never();
  announce(*entry);
  if (entry->repeats == 0) groups_.erase(static_cast<std::size_t>(entry - groups_.begin()));
}

// A change is told at once and repeated, because reports are not acknowledged.
void Igmp::announce(Group& group) noexcept {
  group.repeats = 0;
  group.change_at = Instant::never();
  if (group.address == kAllHosts || group.address.is_v6()) return;
  send_change(group);
  const std::uint8_t spoken = version(group.interface);
  if (spoken != 3 && group.users == 0) return;  // a leave is not repeated there
  group.repeats = kRobustness - 1;
  group.change_at = within(spoken == 3 ? kUnsolicitedInterval : kOldUnsolicitedInterval);
}

void Igmp::send_change(const Group& group) noexcept {
  const bool joined = group.users != 0;
  switch (version(group.interface)) {
    case 1:
      if (joined) send_state(group);
      return;
    case 2:
      if (joined) return send_state(group);
      return actions_.send_old(group.interface, {wire::IgmpType::v2_leave, 0, group.address});
    default: {
      wire::IgmpRecord record;
      record.type = joined ? wire::IgmpRecordType::change_to_exclude
                           : wire::IgmpRecordType::change_to_include;
      record.group = group.address;
      return actions_.send_v3_report(group.interface, {&record, 1});
    }
  }
}

void Igmp::send_state(const Group& group) noexcept {
  const std::uint8_t spoken = version(group.interface);
  if (spoken != 3) {
    const auto type = spoken == 1 ? wire::IgmpType::v1_report : wire::IgmpType::v2_report;
    return actions_.send_old(group.interface, {type, 0, group.address});
  }
  wire::IgmpRecord record;
  record.group = group.address;
  actions_.send_v3_report(group.interface, {&record, 1});
}

void Igmp::send_all(InterfaceId interface) noexcept {
  std::array<wire::IgmpRecord, 32> records;
  std::size_t count = 0;
  const bool v3 = version(interface) == 3;
  for (Group& group : groups_) {
    if (group.interface != interface || group.users == 0 || group.address == kAllHosts ||
        group.address.is_v6()) {
      continue;
    }
    if (!v3) {
      send_state(group);
      continue;
    }
    records[count++].group = group.address;
    if (count < records.size()) continue;
    actions_.send_v3_report(interface, records);
    count = 0;
  }
  if (count != 0) actions_.send_v3_report(interface, std::span{records}.first(count));
}

void Igmp::on_message(InterfaceId interface, const wire::IgmpView& message) noexcept {
  switch (message.type()) {
    case wire::IgmpType::query:
      return on_query(interface, message);
    case wire::IgmpType::v1_report:
    case wire::IgmpType::v2_report:
      return on_report(interface, message);
    default:
      return;  // for routers
  }
}

//= RFC 3376 §5.2
void Igmp::on_query(InterfaceId interface, const wire::IgmpView& message) noexcept {
  Querier* entry = querier(interface);
  if (entry == nullptr) return;
  std::int64_t tenths = message.max_response_code();
  if (message.version() == 3) tenths = wire::igmp_decode(message.max_response_code());
  if (message.version() == 1) tenths = 100;
  if (tenths == 0) tenths = 1;
  const Duration most = Duration::millis(tenths * 100);
  if (message.version() < 3) {
    //= RFC 3376 §8.12
    Instant& until = message.version() == 1 ? entry->v1_until : entry->v2_until;
    until = context_.now + kQueryInterval * kRobustness + most;
  }
  const Instant at = within(most);
  if (entry->answer_at <= at) return;  // everything will be told before that anyway
  const IpAddress group = message.group();
  if (group.is_unspecified()) {
    entry->answer_at = at;
    return;
  }
  Group* member = find(group, interface);
  if (member != nullptr && member->users != 0 && group != kAllHosts) {
    member->answer_at = earlier(member->answer_at, at);
  }
}

//= RFC 2236 §3
// Among older hosts one report for a group is enough.
void Igmp::on_report(InterfaceId interface, const wire::IgmpView& message) noexcept {
  Group* member = find(message.group(), interface);
  if (member == nullptr || version(interface) == 3) return;
  member->answer_at = Instant::never();
}

Instant Igmp::first_deadline() const noexcept {
  Instant next = Instant::never();
  for (const Group& group : groups_)
    next = earlier(next, earlier(group.change_at, group.answer_at));
  for (const Querier& entry : queriers_) next = earlier(next, entry.answer_at);
  return next;
}

std::uint32_t Igmp::on_timeout(std::uint32_t limit) noexcept {
  std::uint32_t handled = 0;
  for (Querier& entry : queriers_) {
    if (entry.answer_at > context_.now || handled == limit) continue;
    ++handled;
    entry.answer_at = Instant::never();
    send_all(entry.interface);
  }
  for (std::size_t i = groups_.size(); i-- > 0 && handled < limit;) {
    Group& group = groups_[i];
    if (group.answer_at <= context_.now) {
      ++handled;
      group.answer_at = Instant::never();
      send_state(group);
    }
    if (group.change_at > context_.now) continue;
    ++handled;
    send_change(group);
    group.change_at = --group.repeats == 0 ? Instant::never() : within(kUnsolicitedInterval);
    if (group.repeats == 0 && group.users == 0) groups_.erase(i);
  }
  return handled;
}

}  // namespace tidewire::ip
