#include "wire/igmp.hpp"

namespace tidewire::wire {
namespace {

Result<void, ParseError> check_v3_query(Bytes message) noexcept {
  if (message.size() < kIgmpV3QueryLen) return fail(ParseError::truncated);
  const std::size_t sources = load_u16(message.data() + 10);
  if (kIgmpV3QueryLen + sources * 4 > message.size()) return fail(ParseError::bad_count);
  return {};
}

Result<void, ParseError> check_v3_report(Bytes message) noexcept {
  Bytes records = message.subspan(kIgmpLen);
  for (std::size_t left = load_u16(message.data() + 6); left > 0; --left) {
    if (const auto record = next_record(records); !record) return fail(record.error());
  }
  return {};
}

Result<void, ParseError> check_by_type(Bytes message) noexcept {
  switch (static_cast<IgmpType>(load_u8(message.data()))) {
    case IgmpType::query:
      //= RFC 3376 §7.1
      return message.size() == kIgmpLen ? Result<void, ParseError>{} : check_v3_query(message);
    case IgmpType::v1_report:
    case IgmpType::v2_report:
    case IgmpType::v2_leave:
      return {};
    case IgmpType::v3_report:
      return check_v3_report(message);
  }
  return fail(ParseError::bad_operation);
}

void finish(MutBytes message) noexcept {
  store_u16(message.data() + 2, internet_checksum(message));
}

}  // namespace

Result<IgmpView, ParseError> IgmpView::parse(Bytes message) noexcept {
  if (message.size() < kIgmpLen) return fail(ParseError::truncated);
  if (internet_checksum(message) != 0) return fail(ParseError::bad_checksum);
  if (const auto checked = check_by_type(message); !checked) return fail(checked.error());
  return IgmpView{message};
}

std::uint8_t IgmpView::version() const noexcept {
  switch (type()) {
    case IgmpType::v1_report:
      return 1;
    case IgmpType::v2_report:
    case IgmpType::v2_leave:
      return 2;
    case IgmpType::v3_report:
      return 3;
    case IgmpType::query:
      break;
  }
  if (message_.size() >= kIgmpV3QueryLen) return 3;
  return max_response_code() == 0 ? 1 : 2;
}

Result<IgmpRecord, ParseError> next_record(Bytes& records) noexcept {
  if (records.size() < 8) return fail(ParseError::bad_count);
  const std::size_t auxiliary = std::size_t{load_u8(records.data() + 1)} * 4;
  const std::size_t sources = std::size_t{load_u16(records.data() + 2)} * 4;
  if (8 + sources + auxiliary > records.size()) return fail(ParseError::bad_count);
  const IgmpRecord record{static_cast<IgmpRecordType>(load_u8(records.data())),
                          load_ipv4(records.data() + 4), records.subspan(8, sources)};
  records = records.subspan(8 + sources + auxiliary);
  return record;
}

IgmpV3QueryRepr to_v3_query(const IgmpView& view) noexcept {
  return {.max_response_code = view.max_response_code(),
          .group = view.group(),
          .suppress_router = view.suppress_router(),
          .robustness = view.robustness(),
          .interval_code = view.interval_code(),
          .sources = view.sources()};
}

Result<IgmpV3ReportRepr, ParseError> to_v3_report(const IgmpView& view,
                                                  std::span<IgmpRecord> storage) noexcept {
  const std::size_t count = view.record_count();
  if (count > storage.size()) return fail(ParseError::bad_count);
  Bytes records = view.records();
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = next_record(records);
    if (!record) return fail(record.error());
    storage[i] = *record;
  }
  return IgmpV3ReportRepr{storage.first(count)};
}

void emit(const IgmpRepr& repr, Writer& out) noexcept {
  const MutBytes message = out.reserve(kIgmpLen);
  if (message.empty()) return;
  store_u8(message.data(), static_cast<std::uint8_t>(repr.type));
  store_u8(message.data() + 1, repr.max_response);
  store_u16(message.data() + 2, 0);
  store_ipv4(message.data() + 4, repr.group);
  finish(message);
}

void emit(const IgmpV3QueryRepr& repr, Writer& out) noexcept {
  const MutBytes message = out.reserve(header_len(repr));
  if (message.empty()) return;
  std::byte* at = message.data();
  store_u8(at, static_cast<std::uint8_t>(IgmpType::query));
  store_u8(at + 1, repr.max_response_code);
  store_u16(at + 2, 0);
  store_ipv4(at + 4, repr.group);
  store_u8(at + 8,
           static_cast<std::uint8_t>((repr.suppress_router ? 8 : 0) | (repr.robustness & 7)));
  store_u8(at + 9, repr.interval_code);
  store_u16(at + 10, static_cast<std::uint16_t>(repr.sources.size() / 4));
  std::copy_n(repr.sources.begin(), message.size() - kIgmpV3QueryLen, at + kIgmpV3QueryLen);
  finish(message);
}

void emit(const IgmpV3ReportRepr& repr, Writer& out) noexcept {
  const MutBytes message = out.reserve(header_len(repr));
  if (message.empty()) return;
  std::byte* at = message.data();
  store_u32(at, std::uint32_t{static_cast<std::uint8_t>(IgmpType::v3_report)} << 24);
  store_u32(at + 4, static_cast<std::uint16_t>(repr.records.size()));
  at += kIgmpLen;
  for (const IgmpRecord& record : repr.records) {
    const std::size_t sources = record.sources.size() / 4;
    store_u8(at, static_cast<std::uint8_t>(record.type));
    store_u8(at + 1, 0);
    store_u16(at + 2, static_cast<std::uint16_t>(sources));
    store_ipv4(at + 4, record.group);
    at = std::copy_n(record.sources.begin(), sources * 4, at + 8);
  }
  finish(message);
}

}  // namespace tidewire::wire
