#include "apps/link_observer.hpp"

#include <string>

namespace tidewire::apps {

void LinkObserver::set_next(device::Direction direction, device::ImpactObserver* next) noexcept {
  sides_[static_cast<std::size_t>(direction)].next = next;
}

void LinkObserver::on_impact(const device::ImpactRecord& record) noexcept {
  Side& side = sides_[static_cast<std::size_t>(record.direction)];
  const std::string what{to_string(record.impact)};
  ++side.total;
  if (side.events.size() < kEventsKept) {
    side.events.push_back({record.at - origin_, what, record.flow_number, record.ordinal});
  }
  if (printer_ != nullptr) {
    printer_->on_impact(record.frame, what, record.flow_number, record.ordinal);
  }
  if (side.next != nullptr) side.next->on_impact(record);
}

report::LinkDirectionReport LinkObserver::report(device::Direction direction,
                                                 const device::LinkCounters& counters) const {
  const Side& side = sides_[static_cast<std::size_t>(direction)];
  report::LinkDirectionReport result;
  result.packets = counters.packets;
  result.bytes = counters.bytes;
  result.delivered = counters.delivered;
  result.dropped = counters.dropped();
  result.events = side.events;
  result.events_total = side.total;
  for (std::size_t i = 0; i < counters.impacts.size(); ++i) {
    const auto impact = static_cast<device::Impact>(i);
    result.impacts.push_back(
        {std::string(to_string(impact)), is_drop(impact), counters.impacts[i]});
  }
  return result;
}

}  // namespace tidewire::apps
