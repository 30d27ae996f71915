// Sysctls as lines `key=value` in a file, as settings of a stack.
#pragma once

#include <string>
#include <string_view>

#include "core/config.hpp"

namespace tidewire::packetdrill {

/// Applies one sysctl ("net.ipv4.tcp_sack" or "net/ipv4/tcp_sack"); false: not one that this stack
/// has, or a value that is none.
bool apply_sysctl(TcpConfig& config, std::string_view key, std::string_view value);

/// What a file of sysctls makes of the defaults. It may change between calls.
class SysctlFile {
 public:
  explicit SysctlFile(std::string path) : path_(std::move(path)) {}
  /// Reads the file again. True if it says something else than the last time.
  bool refresh();
  const TcpConfig& config() const noexcept { return config_; }

 private:
  std::string path_;
  std::string text_;
  TcpConfig config_;
};

}  // namespace tidewire::packetdrill
