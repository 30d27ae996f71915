// IGMP: the checksum is repaired, so that mutations reach what lies behind it.
#include <array>

#include "fuzz.hpp"
#include "wire/igmp.hpp"

using namespace tidewire;
using namespace tidewire::wire;

namespace {

void check_report(const IgmpView& view) {
  std::array<IgmpRecord, 64> storage;
  const auto report = to_v3_report(view, storage);
  if (!report) {
    fuzz::check(view.record_count() > storage.size());
    return;
  }
  const auto bytes = fuzz::emitted(*report, header_len(*report));
  const auto again = IgmpView::parse(bytes);
  std::array<IgmpRecord, 64> second;
  fuzz::check(again.has_value() && to_v3_report(*again, second) == report);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> message(size);
  std::ranges::copy(as_bytes(data, size), message.begin());
  (void)IgmpView::parse(message);
  if (size >= kIgmpLen) {
    store_u16(message.data() + 2, 0);
    store_u16(message.data() + 2, internet_checksum(message));
  }
  const auto view = IgmpView::parse(message);
  if (!view) return 0;
  if (view->type() == IgmpType::v3_report) {
    check_report(*view);
  } else if (view->version() == 3) {
    const IgmpV3QueryRepr repr = to_v3_query(*view);
    const auto bytes = fuzz::emitted(repr, header_len(repr));
    const auto again = IgmpView::parse(bytes);
    fuzz::check(again && to_v3_query(*again) == repr);
  } else {
    const IgmpRepr repr = to_repr(*view);
    const auto bytes = fuzz::emitted(repr, header_len(repr));
    const auto again = IgmpView::parse(bytes);
    fuzz::check(again && to_repr(*again) == repr);
  }
  return 0;
}
