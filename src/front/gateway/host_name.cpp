#include "front/gateway/host_name.hpp"

namespace tidewire::gateway {

namespace {

constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeAny = 255;
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kResponse = 0x8000;
constexpr std::uint16_t kOpcodeMask = 0x7800;
constexpr std::uint16_t kRecursionDesired = 0x0100;
constexpr std::uint16_t kAuthoritative = 0x0400;
constexpr std::uint16_t kRecursionAvailable = 0x0080;
constexpr std::uint32_t kTimeToLive = 60;
constexpr std::uint16_t kNameOfQuestion = 0xc00c;  ///< compression pointer to offset 12

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// Reads an uncompressed name and compares it, letters without case (RFC 4343).
bool reads_as(Reader& reader, std::string_view name) noexcept {
  for (;;) {
    const std::uint8_t length = reader.u8();
    if (!reader.ok() || length > 63) return false;
    if (length == 0) return name.empty();
    if (length > name.size()) return false;
    for (const std::byte b : reader.take(length)) {
      if (lower(static_cast<char>(b)) != lower(name.front())) return false;
      name.remove_prefix(1);
    }
    if (!reader.ok()) return false;
    if (!name.empty()) {
      if (name.front() != '.') return false;
      name.remove_prefix(1);
    }
  }
}

}  // namespace

std::size_t answer_for_host_name(Bytes query, std::string_view name, const IpAddress& address,
                                 MutBytes out) noexcept {
  Reader reader(query);
  const std::uint16_t id = reader.u16();
  const std::uint16_t flags = reader.u16();
  const std::uint16_t questions = reader.u16();
  reader.skip(6);
  const std::size_t name_at = query.size() - reader.remaining();
  if (!reader.ok() || questions != 1 || (flags & (kResponse | kOpcodeMask)) != 0) return 0;
  if (!reads_as(reader, name)) return 0;
  const std::uint16_t type = reader.u16();
  const std::uint16_t klass = reader.u16();
  if (!reader.ok() || klass != kClassIn) return 0;
  const Bytes question = query.subspan(name_at, query.size() - reader.remaining() - name_at);
  const bool answered = address.is_v4() && (type == kTypeA || type == kTypeAny);

  Writer writer(out);
  writer.u16(id);
  writer.u16(static_cast<std::uint16_t>(kResponse | kAuthoritative | kRecursionAvailable |
                                        (flags & kRecursionDesired)));
  writer.u16(1);
  writer.u16(answered ? 1 : 0);
  writer.u32(0);
  writer.bytes(question);
  if (answered) {
    writer.u16(kNameOfQuestion);
    writer.u16(kTypeA);
    writer.u16(kClassIn);
    writer.u32(kTimeToLive);
    writer.u16(4);
    writer.bytes(address.bytes());
  }
  return writer.ok() ? writer.written() : 0;
}

}  // namespace tidewire::gateway
