#include "device/pcapng.hpp"

namespace tidewire::device {
namespace {

constexpr std::uint32_t kSection = 0x0a0d0d0a;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint16_t kLinkEthernet = 1;
constexpr std::uint16_t kLinkRaw = 101;  // starts with the IP header

enum Option : std::uint16_t {
  kEnd = 0,
  kComment = 1,
  kPacketFlags = 2,      // of a packet
  kName = 2,             // of an interface
  kUserApplication = 4,  // of a section
  kTimeResolution = 9,   // of an interface
};

Bytes text(std::string_view s) { return as_bytes(s.data(), s.size()); }

}  // namespace

PcapngWriter::PcapngWriter(ByteSink& sink, Duration epoch) : sink_(sink), epoch_(epoch) {
  begin(kSection);
  u32(0x1a2b3c4d);
  u16(1);  // version 1.0
  u16(0);
  u32(0xffffffff);  // section length: not known
  u32(0xffffffff);
  option(kUserApplication, text("tidewire"));
  option(kEnd, {});
  end();
}

std::uint32_t PcapngWriter::add_interface(std::string_view name, Medium medium) {
  begin(kInterface);
  u16(medium == Medium::ethernet ? kLinkEthernet : kLinkRaw);
  u16(0);
  u32(0);  // no snap length
  option(kName, text(name));
  const std::byte nanoseconds{9};
  option(kTimeResolution, {&nanoseconds, 1});
  option(kEnd, {});
  end();
  return interfaces_++;
}

void PcapngWriter::packet(std::uint32_t interface, Instant at, std::span<const Bytes> parts,
                          PacketFlow flow, std::string_view comment) {
  const auto time =
      static_cast<std::uint64_t>(((at - Instant::from_nanos(0)) + epoch_).count_nanos());
  std::size_t size = 0;
  for (const Bytes part : parts) size += part.size();
  begin(kEnhancedPacket);
  u32(interface);
  u32(static_cast<std::uint32_t>(time >> 32));
  u32(static_cast<std::uint32_t>(time));
  u32(static_cast<std::uint32_t>(size));
  u32(static_cast<std::uint32_t>(size));
  for (const Bytes part : parts) block_.insert(block_.end(), part.begin(), part.end());
  pad();
  if (flow != PacketFlow::unknown) {
    const std::byte flags[4] = {static_cast<std::byte>(flow)};
    option(kPacketFlags, flags);
  }
  if (!comment.empty()) option(kComment, text(comment));
  if (flow != PacketFlow::unknown || !comment.empty()) option(kEnd, {});
  end();
  ++packets_;
}

void PcapngWriter::u16(std::uint16_t value) {
  block_.push_back(static_cast<std::byte>(value & 0xff));
  block_.push_back(static_cast<std::byte>(value >> 8));
}

void PcapngWriter::u32(std::uint32_t value) {
  u16(static_cast<std::uint16_t>(value & 0xffff));
  u16(static_cast<std::uint16_t>(value >> 16));
}

void PcapngWriter::pad() {
  while (block_.size() % 4 != 0) block_.push_back(std::byte{0});
}

void PcapngWriter::option(std::uint16_t code, Bytes value) {
  u16(code);
  u16(static_cast<std::uint16_t>(value.size()));
  block_.insert(block_.end(), value.begin(), value.end());
  pad();
}

void PcapngWriter::begin(std::uint32_t type) {
  block_.clear();
  u32(type);
  u32(0);  // total length, known at the end
}

void PcapngWriter::end() {
  const auto length = static_cast<std::uint32_t>(block_.size() + 4);
  for (std::size_t i = 0; i < 4; ++i) block_[4 + i] = static_cast<std::byte>(length >> (8 * i));
  u32(length);
  sink_.write(block_);
}

}  // namespace tidewire::device
