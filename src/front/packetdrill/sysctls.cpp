#include "front/packetdrill/sysctls.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "core/stack.hpp"

namespace tidewire::packetdrill {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  constexpr std::string_view blanks = " \t\"'";
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t start = text.find_first_not_of(blanks);
    if (start == std::string_view::npos) return words;
    text.remove_prefix(start);
    words.push_back(text.substr(0, text.find_first_of(blanks)));
    text.remove_prefix(words.back().size());
  }
}

std::optional<std::uint32_t> number(std::string_view word, int base = 10) {
  if (word.starts_with("0x") || word.starts_with("0X")) {
    word.remove_prefix(2);
    base = 16;
  }
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

// "min default max".
bool set_sizes(std::string_view text, std::uint32_t& start, std::uint32_t& most) {
  const auto words = words_of(text);
  if (words.size() != 3) return false;
  const auto middle = number(words[1]);
  const auto last = number(words[2]);
  if (!middle || !last) return false;
  start = *middle;
  most = *last;
  return true;
}

bool set_controller(TcpConfig& config, std::string_view name) {
  // Names that outlive every stack, as TcpConfig wants them.
  for (const std::string_view known : congestion_controls()) {
    if (known != name) continue;
    config.congestion_control = known;
    return true;
  }
  return false;
}

/// Sysctls that are one number.
bool set_number(TcpConfig& config, std::string_view key, std::uint32_t value) {
  const auto small = static_cast<std::uint8_t>(value > 255 ? 255 : value);
  const Duration seconds = Duration::seconds(value);
  if (key == "tcp_timestamps") return config.timestamps = value != 0, true;
  if (key == "tcp_sack") return config.sack = value != 0, true;
  if (key == "tcp_window_scaling") return config.window_scaling = value != 0, true;
  if (key == "tcp_slow_start_after_idle") return config.slow_start_after_idle = value != 0, true;
  if (key == "tcp_min_tso_segs") return config.burst_segments_min = small, true;
  if (key == "tcp_recovery") return config.rack = (value & 1) != 0, true;
  if (key == "tcp_frto") return config.frto = value != 0, true;
  if (key == "tcp_syn_retries") return config.syn_retries = small, true;
  if (key == "tcp_synack_retries") return config.syn_ack_retries = small, true;
  if (key == "tcp_retries1") return config.retries_r1 = small, true;
  if (key == "tcp_retries2") return config.retries_r2 = small, true;
  if (key == "tcp_orphan_retries") return config.orphan_retries = value == 0 ? 8 : small, true;
  if (key == "tcp_keepalive_time") return config.keep_idle = seconds, true;
  if (key == "tcp_keepalive_intvl") return config.keep_interval = seconds, true;
  if (key == "tcp_keepalive_probes") return config.keep_count = small, true;
  if (key == "tcp_fin_timeout") return config.fin_wait_2_timeout = seconds, true;
  if (key == "tcp_fastopen") return config.fast_open = value & 0xffff, true;
  if (key == "tcp_abort_on_overflow") return config.abort_on_overflow = value != 0, true;
  if (key == "tcp_ecn") {
    // 4 and 5 of Linux (accurate only when asked) count as 3.
    config.ecn = static_cast<EcnUse>(value > 3 ? 3U : value);
    return true;
  }
  if (key == "tcp_mtu_probing") {
    config.mtu_probing = static_cast<MtuProbing>(value > 2 ? 2U : value);
    return true;
  }
  const auto size = static_cast<std::uint16_t>(value > 0xffff ? 0xffff : value);
  if (key == "tcp_base_mss") return config.mtu_base = size, true;
  if (key == "tcp_mtu_probe_floor") return config.mtu_floor = size, true;
  if (key == "tcp_probe_interval") return config.mtu_probe_interval = seconds, true;
  if (key == "tcp_syncookies") {
    config.syn_cookies = value == 0   ? SynCookieUse::never
                         : value == 1 ? SynCookieUse::when_full
                                      : SynCookieUse::always;
    return true;
  }
  return false;
}

}  // namespace

bool apply_sysctl(TcpConfig& config, std::string_view key, std::string_view value) {
  const std::size_t last = key.find_last_of("./");
  if (last != std::string_view::npos) key.remove_prefix(last + 1);
  const auto words = words_of(value);
  if (words.empty()) return false;
  if (key == "tcp_rmem") {
    return set_sizes(value, config.receive_buffer, config.receive_buffer_max);
  }
  if (key == "tcp_wmem") return set_sizes(value, config.send_buffer, config.send_buffer_max);
  if (key == "tcp_congestion_control") return set_controller(config, words[0]);
  const auto amount = number(words[0]);
  return amount && set_number(config, key, *amount);
}

std::vector<std::byte> parse_fast_open_keys(std::string_view text) {
  std::vector<std::byte> keys;
  constexpr std::size_t words_of_key = 4;
  std::size_t words = 0;
  while (true) {
    const std::size_t end = text.find_first_of("-,");
    const auto word = number(text.substr(0, end), 16);
    if (!word) return {};
    for (int shift = 0; shift < 32; shift += 8) {
      keys.push_back(static_cast<std::byte>(*word >> shift & 0xff));
    }
    ++words;
    if (end == std::string_view::npos) break;
    if ((text[end] == ',') != (words % words_of_key == 0)) return {};
    text.remove_prefix(end + 1);
  }
  if (words != words_of_key && words != 2 * words_of_key) keys.clear();
  return keys;
}

bool SysctlFile::refresh() {
  if (path_.empty()) return false;
  std::ifstream file(path_, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text == text_) return false;
  text_ = std::move(text);
  TcpConfig config;
  fast_open_keys_.clear();
  flushes_ = 0;
  link_full_ = false;
  std::string_view rest = text_;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const auto key = words_of(line.substr(0, equals));
    if (key.empty()) continue;
    const std::string_view value = line.substr(equals + 1);
    if (key[0].ends_with("tcp_fastopen_key")) {
      const auto words = words_of(value);
      if (!words.empty()) fast_open_keys_ = parse_fast_open_keys(words[0]);
    } else if (key[0] == "tcp_metrics.flush") {
      ++flushes_;
    } else if (key[0] == "link.qdisc") {
      const auto words = words_of(value);  // "KIND LIMIT", as the runner's stub writes it
      link_full_ = words.size() == 2 && words[1] == "0";
    } else {
      (void)apply_sysctl(config, key[0], value);
    }
  }
  config_ = config;
  return true;
}

}  // namespace tidewire::packetdrill
