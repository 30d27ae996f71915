// IGMP: version 3 (RFC 3376), and versions 1 and 2 (RFC 1112, RFC 2236) as they are heard.
#pragma once

#include <span>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/checksum.hpp"
#include "wire/error.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::wire {

enum class IgmpType : std::uint8_t {
  query = 0x11,
  v1_report = 0x12,
  v2_report = 0x16,
  v2_leave = 0x17,
  v3_report = 0x22,
};

/// Group record types of a version 3 report (RFC 3376 §4.2.12).
enum class IgmpRecordType : std::uint8_t {
  mode_is_include = 1,
  mode_is_exclude = 2,
  change_to_include = 3,
  change_to_exclude = 4,
  allow_new_sources = 5,
  block_old_sources = 6,
};

/// One group record. Sources are IPv4 addresses of 4 bytes each, in network order, borrowed.
/// Auxiliary data is skipped on input and never sent (RFC 3376 §4.2.10).
struct IgmpRecord {
  IgmpRecordType type = IgmpRecordType::mode_is_exclude;
  IpAddress group{};
  Bytes sources{};
  friend bool operator==(const IgmpRecord& a, const IgmpRecord& b) noexcept {
    return a.type == b.type && a.group == b.group && std::ranges::equal(a.sources, b.sources);
  }
};

inline constexpr std::size_t kIgmpLen = 8;
inline constexpr std::size_t kIgmpV3QueryLen = 12;

class IgmpView {
 public:
  /// Checks the type, the checksum over the whole message and all counts.
  static Result<IgmpView, ParseError> parse(Bytes message) noexcept;

  IgmpType type() const noexcept { return static_cast<IgmpType>(load_u8(message_.data())); }
  /// Queries: 1, 2 or 3 (RFC 3376 §7.1); otherwise the version the type belongs to.
  std::uint8_t version() const noexcept;
  /// Queries of version 3: a code (RFC 3376 §4.1.1); of version 2: tenths of a second.
  std::uint8_t max_response_code() const noexcept { return load_u8(message_.data() + 1); }
  /// 0.0.0.0 in a general query; not in v3 reports.
  IpAddress group() const noexcept { return load_ipv4(message_.data() + 4); }
  // Version 3 queries only.
  bool suppress_router() const noexcept { return (load_u8(message_.data() + 8) & 8) != 0; }
  std::uint8_t robustness() const noexcept { return load_u8(message_.data() + 8) & 7; }
  std::uint8_t interval_code() const noexcept { return load_u8(message_.data() + 9); }
  Bytes sources() const noexcept {
    return message_.subspan(kIgmpV3QueryLen, std::size_t{load_u16(message_.data() + 10)} * 4);
  }
  // Version 3 reports only.
  std::uint16_t record_count() const noexcept { return load_u16(message_.data() + 6); }
  /// The records, to be read one after the other with next_record().
  Bytes records() const noexcept { return message_.subspan(kIgmpLen); }

 private:
  explicit IgmpView(Bytes message) noexcept : message_(message) {}
  Bytes message_;
};

/// Reads the record at the front of `records` and moves past it.
Result<IgmpRecord, ParseError> next_record(Bytes& records) noexcept;

/// Tenths of a second that a version 3 max_response_code stands for (RFC 3376 §4.1.1); the same
/// form gives seconds for interval_code (§4.1.7).
constexpr std::uint32_t igmp_decode(std::uint8_t code) noexcept {
  if (code < 128) return code;
  return (std::uint32_t{code} % 16 | 0x10U) << ((code >> 4 & 7U) + 3);
}

/// Everything of eight bytes: queries of version 1 and 2, reports and leaves of version 1 and 2.
struct IgmpRepr {
  IgmpType type = IgmpType::query;
  std::uint8_t max_response = 0;
  IpAddress group{};
  friend constexpr bool operator==(const IgmpRepr&, const IgmpRepr&) noexcept = default;
};
struct IgmpV3QueryRepr {
  std::uint8_t max_response_code = 0;
  IpAddress group{};
  bool suppress_router = false;
  std::uint8_t robustness = 2;  ///< 0 to 7
  std::uint8_t interval_code = 125;
  Bytes sources{};  ///< whole IPv4 addresses, borrowed
  friend bool operator==(const IgmpV3QueryRepr& a, const IgmpV3QueryRepr& b) noexcept {
    return a.max_response_code == b.max_response_code && a.group == b.group &&
           a.suppress_router == b.suppress_router && a.robustness == b.robustness &&
           a.interval_code == b.interval_code && std::ranges::equal(a.sources, b.sources);
  }
};
struct IgmpV3ReportRepr {
  std::span<const IgmpRecord> records;  ///< borrowed
  friend bool operator==(const IgmpV3ReportRepr& a, const IgmpV3ReportRepr& b) noexcept {
    return std::ranges::equal(a.records, b.records);
  }
};

inline IgmpRepr to_repr(const IgmpView& view) noexcept {
  return {view.type(), view.max_response_code(), view.group()};
}
IgmpV3QueryRepr to_v3_query(const IgmpView& view) noexcept;
/// Fills `storage`; bad_count if the report has more records than fit there.
Result<IgmpV3ReportRepr, ParseError> to_v3_report(const IgmpView& view,
                                                  std::span<IgmpRecord> storage) noexcept;

constexpr std::size_t header_len(const IgmpRepr&) noexcept { return kIgmpLen; }
constexpr std::size_t header_len(const IgmpV3QueryRepr& repr) noexcept {
  return kIgmpV3QueryLen + repr.sources.size() / 4 * 4;
}
constexpr std::size_t header_len(const IgmpV3ReportRepr& repr) noexcept {
  std::size_t size = kIgmpLen;
  for (const IgmpRecord& record : repr.records) size += 8 + record.sources.size() / 4 * 4;
  return size;
}

// Each writes the whole message with its checksum.
void emit(const IgmpRepr& repr, Writer& out) noexcept;
void emit(const IgmpV3QueryRepr& repr, Writer& out) noexcept;
void emit(const IgmpV3ReportRepr& repr, Writer& out) noexcept;

}  // namespace tidewire::wire
