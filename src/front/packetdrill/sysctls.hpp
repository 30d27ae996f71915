// Sysctls as lines `key=value` in a file, as settings of a stack.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "core/config.hpp"

namespace tidewire::packetdrill {

/// Applies one sysctl ("net.ipv4.tcp_sack" or "net/ipv4/tcp_sack"); false: not one that this stack
/// has, or a value that is none.
bool apply_sysctl(TcpConfig& config, std::string_view key, std::string_view value);

/// Keys as tcp_fastopen_key has them: four 32-bit words in hexadecimal with dashes between, one key
/// or two with a comma between. Empty: these are none.
std::vector<std::byte> parse_fast_open_keys(std::string_view text);

/// What a file of sysctls makes of the defaults. It may change between calls.
class SysctlFile {
 public:
  explicit SysctlFile(std::string path) : path_(std::move(path)) {}
  /// Reads the file again. True if it says something else than the last time.
  bool refresh();
  const TcpConfig& config() const noexcept { return config_; }
  /// tcp_fastopen_key; empty: none was set.
  Bytes fast_open_keys() const noexcept { return fast_open_keys_; }
  /// How often the cache of tcp_metrics was flushed.
  std::size_t flushes() const noexcept { return flushes_; }
  /// The queue of the link has room for nothing (`tc qdisc ... limit 0`).
  bool link_full() const noexcept { return link_full_; }

 private:
  std::string path_;
  std::string text_;
  TcpConfig config_;
  std::vector<std::byte> fast_open_keys_;
  std::size_t flushes_ = 0;
  bool link_full_ = false;
};

}  // namespace tidewire::packetdrill
