// TCP and UDP for pretty().
#include "wire/pretty_detail.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace tidewire::wire::detail {
namespace {

void put_flags(std::string& out, TcpFlags flags) {
  constexpr std::string_view kLetters = "FSRP.UEWe";  // as tcpdump
  if (flags.bits() == 0) out += "none";
  for (std::size_t bit = 0; bit < kLetters.size(); ++bit) {
    if ((flags.bits() >> bit & 1) != 0) out += kLetters[bit];
  }
}

void put_sack(std::string& out, const std::byte* at, std::size_t length) {
  put(out, "sack ", (length - 2) / 8, " ");
  for (std::size_t i = 2; i + 8 <= length; i += 8) {
    put(out, "{", load_u32(at + i), ":", load_u32(at + i + 4), "}");
  }
}

void put_fast_open(std::string& out, const std::byte* at, std::size_t head, std::size_t length) {
  out += length == head ? "tfo cookiereq" : "tfo cookie ";
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t i = head; i < length; ++i) {
    out += kDigits[load_u8(at + i) / 16];
    out += kDigits[load_u8(at + i) % 16];
  }
}

void put_acc_ecn(std::string& out, const std::byte* at, std::size_t length) {
  const std::size_t count = (length - 2) / 3;
  const bool order1 = load_u8(at) == 174;
  put(out, "acce", order1 ? "1" : "0");
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view name = i == 1 ? "ce" : (i == 0) == order1 ? "e1" : "e0";
    const std::byte* field = at + 2 + 3 * i;
    put(out, " ", name, " ", std::uint32_t{load_u16(field)} << 8 | load_u8(field + 2));
  }
}

void put_option(std::string& out, const std::byte* at, std::size_t length) {
  const std::uint8_t kind = load_u8(at);
  if (kind == 2 && length == 4) {
    put(out, "mss ", load_u16(at + 2));
  } else if (kind == 3 && length == 3) {
    put(out, "wscale ", load_u8(at + 2));
  } else if (kind == 4 && length == 2) {
    out += "sackOK";
  } else if (kind == 5 && length >= 10 && (length - 2) % 8 == 0) {
    put_sack(out, at, length);
  } else if (kind == 8 && length == 10) {
    put(out, "TS val ", load_u32(at + 2), " ecr ", load_u32(at + 6));
  } else if (kind == 28 && length == 4) {
    const unsigned value = load_u16(at + 2);
    put(out, "uto ", value & 0x7fffU, value >> 15 != 0 ? " min" : " s");
  } else if ((kind == 172 || kind == 174) && length <= 11 && (length - 2) % 3 == 0) {
    put_acc_ecn(out, at, length);
  } else if (kind == 34) {
    put_fast_open(out, at, 2, length);
  } else if (kind == 254 && length >= 4 && load_u16(at + 2) == 0xf989) {
    out += "exp-";
    put_fast_open(out, at, 4, length);
  } else if (kind >= 2 && kind <= 8 && kind != 6 && kind != 7) {
    put(out, "bad-opt-", kind, " len ", length);
  } else {
    put(out, "unknown-", kind);
  }
}

void put_options(std::string& out, Bytes options) {
  bool first = true;
  while (!options.empty()) {
    if (!first) out += ',';
    first = false;
    const std::uint8_t kind = load_u8(options.data());
    if (kind == 0) {
      out += "eol";
      return;
    }
    if (kind == 1) {
      out += "nop";
      options = options.subspan(1);
      continue;
    }
    const std::size_t length = options.size() < 2 ? 0 : load_u8(options.data() + 1);
    if (length < 2 || length > options.size()) {
      out += "[bad opt]";
      return;
    }
    put_option(out, options.data(), length);
    options = options.subspan(length);
  }
}

/// Says what is wrong with a checksum; nothing if it cannot be told from these bytes.
void put_checksum(std::string& out, const IpContext& ip, std::uint8_t protocol, std::uint16_t field,
                  Bytes covered, std::size_t length) {
  if (ip.first_fragment || covered.size() < length) return;
  Checksum sum;
  sum.add_pseudo_header(ip.source, ip.destination, protocol, static_cast<std::uint32_t>(length));
  const std::uint16_t pseudo = sum.fold();
  sum.add(covered);
  if (sum.verifies()) return;
  out += field == pseudo ? ", cksum pending" : ", bad cksum";
}

void put_short(std::string& out, const IpContext& ip, std::string_view what, ParseError error) {
  put_flow(out, ip);
  put(out, what, ", ", error, ", length ", ip.payload_len);
}

}  // namespace

void put_tcp(std::string& out, const IpContext& ip) {
  const auto view = TcpView::parse(ip.payload);
  if (!view) return put_short(out, ip, "tcp", view.error());
  put_flow(out, ip, view->source_port(), view->destination_port());
  const TcpFlags flags = view->flags();
  out += "Flags [";
  put_flags(out, flags);
  out += ']';
  const std::size_t length = ip.payload_len - view->header_len();
  if (length > 0) {
    put(out, ", seq ", view->seq(), ":", view->seq() + static_cast<std::uint32_t>(length));
  } else if (flags.has_any(TcpFlag::syn | TcpFlag::fin | TcpFlag::rst)) {
    put(out, ", seq ", view->seq());
  }
  if (flags.has(TcpFlag::ack)) put(out, ", ack ", view->ack());
  put(out, ", win ", view->window());
  if (flags.has(TcpFlag::urg)) put(out, ", urg ", view->urgent_pointer());
  if (!view->options().empty()) {
    out += ", options [";
    put_options(out, view->options());
    out += ']';
  }
  put_checksum(out, ip, protocol::tcp, view->checksum(), view->segment(), ip.payload_len);
  put(out, ", length ", length);
}

void put_udp(std::string& out, const IpContext& ip) {
  // The length covers all fragments; only the first has the header.
  const auto view = UdpView::parse(ip.payload, ip.first_fragment ? SIZE_MAX : ip.payload_len);
  if (!view) return put_short(out, ip, "UDP", view.error());
  put_flow(out, ip, view->source_port(), view->destination_port());
  out += "UDP";
  if (view->has_checksum()) {
    put_checksum(out, ip, protocol::udp, view->checksum(), view->segment(), view->length());
  } else if (ip.source.is_v6()) {
    put(out, ", ", ParseError::missing_checksum);
  }
  put(out, ", length ", view->payload_len());
}

}  // namespace tidewire::wire::detail
