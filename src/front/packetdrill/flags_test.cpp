#include "front/packetdrill/flags.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "front/packetdrill/statistics.hpp"
#include "front/packetdrill/sysctls.hpp"

namespace tidewire::packetdrill {
namespace {

TEST(Flags, AllKeys) {
  const auto flags = parse_flags(
      "local=192.168.0.1,netmask=255.255.0.0,gateway=192.168.0.2,remote=192.0.2.1,mtu=1400,"
      "sysctl_file=/tmp/x,counters_file=/tmp/y,trace=1");
  ASSERT_TRUE(flags);
  EXPECT_EQ(flags->local, IpAddress::v4(0xc0a80001));
  EXPECT_EQ(flags->prefix_len, 16);
  EXPECT_EQ(flags->gateway, IpAddress::v4(0xc0a80002));
  EXPECT_EQ(flags->mtu, 1400U);
  EXPECT_EQ(flags->sysctl_file, "/tmp/x");
  EXPECT_EQ(flags->counters_file, "/tmp/y");
  EXPECT_TRUE(flags->trace);
}

TEST(Flags, ErrorsAreOneClearLine) {
  EXPECT_EQ(parse_flags("").error().find('\n'), std::string::npos);
  EXPECT_NE(parse_flags("mtu=1500").error().find("needs local="), std::string::npos);
  EXPECT_NE(parse_flags("locla=1.2.3.4").error().find("unknown key 'locla'"), std::string::npos);
  EXPECT_NE(parse_flags("local=1.2.3").error().find("'1.2.3' is no value for local"),
            std::string::npos);
  EXPECT_FALSE(parse_flags("local=10.0.0.1,netmask=255.0.255.0"));
  EXPECT_FALSE(parse_flags("local=10.0.0.1,mtu=67"));
  EXPECT_FALSE(parse_flags("local=10.0.0.1,trace=yes"));
  EXPECT_FALSE(parse_flags("local=10.0.0.1,netmask=33"));
}

TEST(Sysctls, BecomeTheConfiguration) {
  TcpConfig config;
  EXPECT_TRUE(apply_sysctl(config, "net.ipv4.tcp_rmem", "\"4096 540000 15728640\""));
  EXPECT_EQ(config.receive_buffer, 540'000U);
  EXPECT_EQ(config.receive_buffer_max, 15'728'640U);
  EXPECT_TRUE(apply_sysctl(config, "net/ipv4/tcp_sack", "0"));
  EXPECT_FALSE(config.sack);
  EXPECT_TRUE(apply_sysctl(config, "net.ipv4.tcp_congestion_control", "reno"));
  EXPECT_EQ(config.congestion_control, "reno");
  EXPECT_TRUE(apply_sysctl(config, "net.ipv4.tcp_fastopen", "0x70403"));
  EXPECT_EQ(config.fast_open, 0x403U);
  EXPECT_TRUE(apply_sysctl(config, "net.ipv4.tcp_ecn", "1"));
  EXPECT_EQ(config.ecn, EcnUse::request);
  EXPECT_TRUE(apply_sysctl(config, "net.ipv4.tcp_mtu_probing", "2"));
  EXPECT_EQ(config.mtu_probing, MtuProbing::always);
  EXPECT_TRUE(apply_sysctl(config, "net.ipv4.tcp_base_mss", "512"));
  EXPECT_EQ(config.mtu_base, 512);
  EXPECT_FALSE(apply_sysctl(config, "net.ipv4.tcp_mumble", "1"));
  EXPECT_FALSE(apply_sysctl(config, "net.ipv4.tcp_sack", "yes"));
}

TEST(Sysctls, FileIsReadAgainWhenItChanged) {
  const std::string path = testing::TempDir() + "/tidewire_sysctls";
  std::ofstream(path) << "net.ipv4.tcp_timestamps=0\nnonsense\nunknown=1\n";
  SysctlFile file(path);
  EXPECT_TRUE(file.refresh());
  EXPECT_FALSE(file.config().timestamps);
  EXPECT_FALSE(file.refresh());
  std::ofstream(path, std::ios::app) << "net.ipv4.tcp_timestamps=1\n";
  EXPECT_TRUE(file.refresh());
  EXPECT_TRUE(file.config().timestamps);
}

TEST(Sysctls, TheLinksQueueMayHaveNoRoom) {
  const std::string path = testing::TempDir() + "/tidewire_qdisc";
  SysctlFile file(path);
  const auto says = [&](const char* line) {
    std::ofstream(path) << line << '\n';
    (void)file.refresh();
    return file.link_full();
  };
  EXPECT_TRUE(says("link.qdisc=pfifo 0"));
  EXPECT_FALSE(says("link.qdisc=pfifo 10"));
  EXPECT_FALSE(says("link.qdisc=pfifo 0\nlink.qdisc=pfifo"));
}

TEST(Sysctls, FastOpenKeysAreWordsInHexadecimal) {
  const auto one = parse_fast_open_keys("03020100-7060504-b0a0908-0f0e0d0c");
  ASSERT_EQ(one.size(), 16U);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i], static_cast<std::byte>(i));
  EXPECT_EQ(parse_fast_open_keys("1-2-3-4,5-6-7-8").size(), 32U);
  for (const char* wrong :
       {"", "1-2-3", "1-2-3-4-5", "1-2-3-4,5", "1,2,3,4", "1-2-x-4", "1-2-3-4,"}) {
    EXPECT_TRUE(parse_fast_open_keys(wrong).empty()) << wrong;
  }
}

TEST(Statistics, FileSaysWhatWasCounted) {
  const std::string path = testing::TempDir() + "/tidewire_counters";
  StatisticsFile file(path);
  Counters counters;
  const auto line = [&](const std::string& name) {
    file.refresh(counters);
    std::ifstream in(path);
    std::string word;
    std::uint64_t value = 0;
    while (in >> word >> value) {
      if (word == name) return static_cast<std::int64_t>(value);
    }
    return std::int64_t{-1};
  };
  EXPECT_EQ(line("TcpExtOutOfWindowIcmps"), 0);
  counters.tcp_icmp_out_of_window = 3;
  EXPECT_EQ(line("TcpExtOutOfWindowIcmps"), 3);
  counters.tcp_segs_in = 12;
  EXPECT_EQ(line("TcpInSegs"), 12);
  EXPECT_EQ(line("TcpExtNothing"), -1);
}

}  // namespace
}  // namespace tidewire::packetdrill
