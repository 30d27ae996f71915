#include "front/packetdrill/statistics.hpp"

#include <array>
#include <cstdint>
#include <fstream>
#include <string_view>

namespace tidewire::packetdrill {
namespace {

struct Row {
  std::string_view name;
  std::uint64_t Counters::* counter;
};

constexpr auto rows = std::to_array<Row>({
    {"TcpActiveOpens", &Counters::tcp_active_opens},
    {"TcpPassiveOpens", &Counters::tcp_passive_opens},
    {"TcpAttemptFails", &Counters::tcp_attempt_fails},
    {"TcpInSegs", &Counters::tcp_segs_in},
    {"TcpOutSegs", &Counters::tcp_segs_out},
    {"TcpRetransSegs", &Counters::tcp_retransmits},
    {"TcpOutRsts", &Counters::tcp_resets_out},
    {"TcpExtSyncookiesSent", &Counters::tcp_cookies_sent},
    {"TcpExtSyncookiesRecv", &Counters::tcp_cookies_received},
    {"TcpExtSyncookiesFailed", &Counters::tcp_cookies_failed},
    {"TcpExtOutOfWindowIcmps", &Counters::tcp_icmp_out_of_window},
    {"TcpExtTCPTimeouts", &Counters::tcp_timeouts},
    {"TcpExtTCPDSACKRecv", &Counters::tcp_dsacks_in},
    {"TcpExtTCPDeferAcceptDrop", &Counters::tcp_defer_accept_drops},
    {"TcpExtTCPChallengeACK", &Counters::tcp_challenge_acks},
    {"TcpExtTCPFastOpenActive", &Counters::tcp_fast_open_active},
    {"TcpExtTCPFastOpenActiveFail", &Counters::tcp_fast_open_active_fails},
    {"TcpExtTCPFastOpenPassive", &Counters::tcp_fast_open_passive},
    {"TcpExtTCPFastOpenPassiveFail", &Counters::tcp_fast_open_passive_fails},
    {"TcpExtTCPFastOpenListenOverflow", &Counters::tcp_fast_open_overflows},
    {"TcpExtTCPFastOpenCookieReqd", &Counters::tcp_fast_open_requests},
});

}  // namespace

std::string nstat_lines(const Counters& counters) {
  std::string text;
  for (const Row& row : rows) {
    text += row.name;
    text += ' ' + std::to_string(counters.*row.counter) + '\n';
  }
  return text;
}

void StatisticsFile::refresh(const Counters& counters) {
  if (path_.empty()) return;
  std::string text = nstat_lines(counters);
  if (text == text_) return;
  text_ = std::move(text);
  std::ofstream(path_, std::ios::binary) << text_;
}

}  // namespace tidewire::packetdrill
