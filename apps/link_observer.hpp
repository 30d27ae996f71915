// Remembers what a described link did to packets, and tells the live print of it.
#pragma once

#include <cstdint>
#include <vector>

#include "device/wrap/impairment.hpp"
#include "report/line_printer.hpp"
#include "report/run_report.hpp"

namespace tidewire::apps {

class LinkObserver final : public device::ImpactObserver {
 public:
  explicit LinkObserver(Instant origin) : origin_(origin) {}

  void set_printer(report::LinePrinter* printer) noexcept { printer_ = printer; }
  /// Others that want to know the same, one for each direction's sender; may be null.
  void set_next(device::Direction direction, device::ImpactObserver* next) noexcept;

  void on_impact(const device::ImpactRecord& record) noexcept override;
  report::LinkDirectionReport report(device::Direction direction,
                                     const device::LinkCounters& counters) const;

 private:
  static constexpr std::size_t kEventsKept = 10'000;  ///< of each direction

  struct Side {
    std::vector<report::LinkEvent> events;
    std::uint64_t total = 0;
    device::ImpactObserver* next = nullptr;
  };

  Instant origin_;
  report::LinePrinter* printer_ = nullptr;
  Side sides_[2];
};

}  // namespace tidewire::apps
