// The options that describe a network, shared by subcommands.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.hpp"
#include "core/config.hpp"
#include "device/net_spec.hpp"
#include "device/scenario.hpp"
#include "front/gateway/publish.hpp"

namespace tidewire::apps {

struct NetworkOptions {
  static constexpr std::uint64_t kMemory = std::uint64_t{768} << 20;
  static constexpr std::uint64_t kLeastMemory = std::uint64_t{16} << 20;

  std::string net;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> publish;
  bool no_host = false;
  std::string congestion_control = "cubic";
  std::string ecn = "accept";
  std::uint32_t fast_open = 1;     ///< bits of tcp_fastopen
  std::string ephemeral;           ///< "FIRST-LAST"; empty: as Linux
  std::string time_wait;           ///< "2s", "500ms"; empty: as Linux
  std::uint64_t memory = kMemory;  ///< bytes, most of both stacks together
  std::string pcap;
  bool print = false;
  bool report = true;        ///< somebody reads what VirtualNetwork::report() tells of flows
  bool kernel_host = false;  ///< not a stack but a kernel is at the host's end of the link

  /// What the command line named, as --name=value; filled in by note_given().
  std::vector<std::string> given;

  // Filled in by check().
  device::NetSpec spec;
  std::vector<device::NetEvent> events;  ///< of a scenario file
  std::vector<gateway::PublishSpec> published;
  bool seed_drawn = false;
  std::optional<std::pair<std::uint16_t, std::uint16_t>> ephemeral_range;
  std::optional<Duration> time_wait_length;

  EcnUse ecn_use() const noexcept;

  void add_to(CLI::App& command);
  void note_given(const CLI::App& command);
  bool is_given(std::string_view option) const;
  /// Parses the words and draws a seed if none was given. Throws Failure with `status`.
  void check(int status);

 private:
  void check_net(int status);
};

/// Reads what a description names (trace=FILE), in `folder` if that is not empty.
device::FileReader files_in(const std::string& folder);

/// 64 bits from the operating system.
std::uint64_t draw_seed();

}  // namespace tidewire::apps
