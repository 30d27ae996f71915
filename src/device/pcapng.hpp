// Writes captures in the pcapng format (draft-ietf-opsawg-pcapng): section header, interfaces with
// nanosecond resolution, packets with direction and comments.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "wire/frame.hpp"

namespace tidewire::device {

/// Where written bytes go.
class ByteSink {
 public:
  virtual void write(Bytes bytes) noexcept = 0;

 protected:
  ByteSink() = default;
  ByteSink(const ByteSink&) = default;
  ByteSink& operator=(const ByteSink&) = default;
  ~ByteSink() = default;
};

/// Keeps only a hash (64-bit FNV-1a) and the length of what is written.
class HashSink final : public ByteSink {
 public:
  void write(Bytes bytes) noexcept override {
    for (const std::byte b : bytes) {
      hash_ = (hash_ ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3U;
    }
    size_ += bytes.size();
  }
  std::uint64_t hash() const noexcept { return hash_; }
  std::uint64_t size() const noexcept { return size_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325U;
  std::uint64_t size_ = 0;
};

/// Keeps everything in memory.
class MemorySink final : public ByteSink {
 public:
  void write(Bytes bytes) noexcept override {
    data_.insert(data_.end(), bytes.begin(), bytes.end());
  }
  Bytes data() const noexcept { return data_; }

 private:
  std::vector<std::byte> data_;
};

enum class PacketFlow : std::uint8_t { unknown = 0, inbound = 1, outbound = 2 };

/// One section. The output is a function of the calls alone: little-endian, no wall clock, no host
/// names, so that identical runs give identical bytes.
class PcapngWriter {
 public:
  /// `epoch` is the wall-clock time (since 1970) of Instant zero; zero in virtual time. `sink`
  /// outlives the writer.
  explicit PcapngWriter(ByteSink& sink, Duration epoch = Duration::zero());

  /// Describes an interface and returns its number.
  std::uint32_t add_interface(std::string_view name, Medium medium);
  /// `parts` are written one after the other as one packet. `interface` comes from add_interface.
  void packet(std::uint32_t interface, Instant at, std::span<const Bytes> parts, PacketFlow flow,
              std::string_view comment = {});
  void packet(std::uint32_t interface, Instant at, Bytes frame, PacketFlow flow,
              std::string_view comment = {}) {
    packet(interface, at, std::span<const Bytes>{&frame, 1}, flow, comment);
  }
  std::uint64_t packets() const noexcept { return packets_; }

 private:
  void u16(std::uint16_t value);
  void u32(std::uint32_t value);
  void pad();
  void option(std::uint16_t code, Bytes value);
  void begin(std::uint32_t type);
  void end();

  ByteSink& sink_;
  Duration epoch_;
  std::uint32_t interfaces_ = 0;
  std::uint64_t packets_ = 0;
  std::vector<std::byte> block_;  ///< the block under construction
};

}  // namespace tidewire::device
