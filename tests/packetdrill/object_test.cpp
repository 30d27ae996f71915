// The shared object for packetdrill, loaded and driven as packetdrill does it: the table of
// functions, packets as bytes, and a second thread for a call that blocks.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "front/abi/tcp_info.hpp"
#include "front/packetdrill/interface.hpp"

namespace {

using tidewire::packetdrill::Interface;
using Octets = std::vector<std::uint8_t>;
using Init = void (*)(const char*, Interface*);

constexpr const char* flags_text =
    "local=192.168.0.1,netmask=255.255.0.0,gateway=192.168.0.1,remote=192.0.2.1,mtu=1500";
constexpr std::array<std::uint8_t, 4> local_address{192, 168, 0, 1};
constexpr std::array<std::uint8_t, 4> remote_address{192, 0, 2, 1};
constexpr std::uint16_t local_port = 8080;
constexpr std::uint16_t remote_port = 40'000;
constexpr std::uint32_t peer_isn = 1'000;
constexpr std::uint8_t fin = 1, syn = 2, psh = 8, ack = 16;
constexpr std::uint16_t window = 50'000;

Init load() {
  int mode = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
#ifndef __SANITIZE_ADDRESS__  // which replaces functions that a deep bind would not see
  mode |= RTLD_DEEPBIND;
#endif
  // Beside the folder of this program.
  const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const auto object = here.parent_path() / "tidewire-packetdrill.so";
  void* handle = ::dlopen(object.c_str(), mode);
  if (handle == nullptr) throw std::runtime_error(::dlerror());
  return reinterpret_cast<Init>(::dlsym(handle, "packetdrill_interface_init"));
}

void put16(Octets& out, std::uint32_t v) {
  out.push_back(static_cast<std::uint8_t>(v >> 8));
  out.push_back(static_cast<std::uint8_t>(v));
}
void put32(Octets& out, std::uint32_t v) {
  put16(out, v >> 16);
  put16(out, v & 0xffff);
}
std::uint32_t get(const Octets& from, std::size_t at, std::size_t size) {
  std::uint32_t v = 0;
  for (std::size_t i = 0; i < size; ++i) v = v << 8 | from.at(at + i);
  return v;
}

std::uint16_t checksum(const Octets& bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += bytes[i] << (i % 2 == 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}
void set16(Octets& in, std::size_t at, std::uint16_t v) {
  in[at] = static_cast<std::uint8_t>(v >> 8);
  in[at + 1] = static_cast<std::uint8_t>(v);
}

/// An IPv4 packet of the peer.
Octets segment(std::uint8_t flags, std::uint32_t seq, std::uint32_t number, std::size_t text = 0) {
  Octets tcp;
  put16(tcp, remote_port);
  put16(tcp, local_port);
  put32(tcp, seq);
  put32(tcp, number);
  const bool opens = (flags & syn) != 0;
  put16(tcp, (opens ? 6U : 5U) << 12 | flags);
  put16(tcp, window);
  put32(tcp, 0);
  if (opens) put32(tcp, 0x02040000U | 1000);  // MSS
  for (std::size_t i = 0; i < text; ++i) tcp.push_back(static_cast<std::uint8_t>('a' + i % 26));
  Octets pseudo(remote_address.begin(), remote_address.end());
  pseudo.insert(pseudo.end(), local_address.begin(), local_address.end());
  put16(pseudo, IPPROTO_TCP);
  put16(pseudo, static_cast<std::uint32_t>(tcp.size()));
  const auto sum = static_cast<std::uint16_t>(~checksum(pseudo));
  set16(tcp, 16, checksum(tcp, sum));
  Octets packet{0x45, 0};
  put16(packet, static_cast<std::uint32_t>(20 + tcp.size()));
  put32(packet, 0);
  packet.insert(packet.end(), {64, IPPROTO_TCP, 0, 0});
  packet.insert(packet.end(), remote_address.begin(), remote_address.end());
  packet.insert(packet.end(), local_address.begin(), local_address.end());
  set16(packet, 10, checksum(packet));
  packet.insert(packet.end(), tcp.begin(), tcp.end());
  return packet;
}

/// One packet of the stack and when it was sent.
struct Sent {
  Octets bytes;
  long long at = 0;  ///< microseconds
  friend bool operator==(const Sent&, const Sent&) = default;

  std::uint32_t seq() const { return get(bytes, 24, 4); }
  std::uint32_t number() const { return get(bytes, 28, 4); }
  std::uint8_t flags() const { return bytes.at(33); }
  std::size_t text() const { return bytes.size() - 20 - (bytes.at(32) >> 4) * std::size_t{4}; }
};

class Object {
 public:
  Object() { load()(flags_text, &table_); }
  ~Object() { table_.free(table_.userdata); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const Interface& table() const { return table_; }
  void* data() const { return table_.userdata; }

  void arrive(const Octets& packet) {
    ASSERT_EQ(table_.netdev_send(data(), packet.data(), packet.size()), 0);
  }
  Sent next() {
    Sent sent;
    sent.bytes.resize(65'536);
    std::size_t size = sent.bytes.size();
    EXPECT_EQ(table_.netdev_receive(data(), sent.bytes.data(), &size, &sent.at), 0);
    sent.bytes.resize(size);
    if (size > 0) trace_.push_back(sent);
    return sent;
  }
  long long clock() const {
    timeval now{};
    table_.gettimeofday(data(), &now, nullptr);
    return now.tv_sec * 1'000'000LL + now.tv_usec;
  }
  void sleep(useconds_t micros) const { table_.usleep(data(), micros); }

  int listen() {
    const int fd = table_.socket(data(), AF_INET, SOCK_STREAM, IPPROTO_TCP);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(local_port);
    std::memcpy(&at.sin_addr, local_address.data(), 4);
    EXPECT_EQ(table_.bind(data(), fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(table_.listen(data(), fd, 1), 0);
    return fd;
  }
  /// A connection that the peer opened; `isn` is the stack's.
  int accept(int listener, std::uint32_t& isn) {
    arrive(segment(syn, peer_isn, 0));
    const Sent answer = next();
    EXPECT_EQ(answer.flags(), syn | ack);
    EXPECT_EQ(answer.number(), peer_isn + 1);
    isn = answer.seq();
    arrive(segment(ack, peer_isn + 1, isn + 1));
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const int fd = table_.accept(data(), listener, reinterpret_cast<sockaddr*>(&from), &size);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(ntohs(from.sin_port), remote_port);
    EXPECT_EQ(std::memcmp(&from.sin_addr, remote_address.data(), 4), 0);
    return fd;
  }
  const std::vector<Sent>& trace() const { return trace_; }

 private:
  Interface table_{};
  std::vector<Sent> trace_;
};

/// Until the thread sleeps, as packetdrill looks at it.
void await_sleep(const std::atomic<long>& thread) {
  while (true) {
    const long id = thread;
    if (id == 0) continue;
    std::ifstream file("/proc/self/task/" + std::to_string(id) + "/stat");
    std::string word;
    for (int i = 0; i < 3; ++i) file >> word;
    if (word == "S") return;
    std::this_thread::yield();
  }
}

/// A connection from handshake to end, with a read that blocks on a second thread.
std::vector<Sent> conversation() {
  Object object;
  const Interface& call = object.table();
  void* u = object.data();
  std::uint32_t isn = 0;
  const int fd = object.accept(object.listen(), isn);

  std::array<char, 4096> buffer{};
  std::atomic<long> reader = 0;
  std::atomic<long long> stamp = 0;
  std::atomic<ssize_t> got = 0;
  std::thread thread([&] {
    reader = ::syscall(SYS_gettid);
    got = call.read(u, fd, buffer.data(), buffer.size());
    stamp = object.clock();
  });
  await_sleep(reader);
  const long long before = object.clock();
  object.sleep(100'000);
  const long long arrived = object.clock();
  EXPECT_GE(arrived - before, 100'000);
  object.arrive(segment(psh | ack, peer_isn + 1, isn + 1, 300));
  thread.join();
  EXPECT_EQ(got, 300);
  EXPECT_EQ(stamp, arrived) << "the call returned when its data came, whatever the scheduler did";
  EXPECT_EQ(std::string(buffer.data(), 3), "abc");
  EXPECT_EQ(object.next().number(), peer_isn + 301);

  EXPECT_EQ(call.write(u, fd, buffer.data(), 300), 300);
  const Sent text = object.next();
  EXPECT_EQ(text.flags(), psh | ack);
  EXPECT_EQ(text.seq(), isn + 1);
  EXPECT_EQ(text.text(), 300U);
  const Sent again = object.next();  // nobody answers: it is sent again
  EXPECT_EQ(again.seq(), isn + 1);
  EXPECT_GT(again.at - text.at, 100'000);
  object.arrive(segment(ack, peer_isn + 301, isn + 301));

  tidewire::posix::LinuxTcpInfo about;
  socklen_t size = sizeof about;
  EXPECT_EQ(call.getsockopt(u, fd, IPPROTO_TCP, TCP_INFO, &about, &size), 0);
  EXPECT_EQ(about.state, TCP_ESTABLISHED);
  EXPECT_EQ(about.bytes_acked, 300U);
  EXPECT_EQ(about.bytes_received, 300U);
  EXPECT_EQ(about.total_retrans, 1U);

  EXPECT_EQ(call.close(u, fd), 0);
  const Sent end = object.next();
  EXPECT_EQ(end.flags() & fin, fin);
  object.arrive(segment(fin | ack, peer_isn + 301, end.seq() + 1));
  EXPECT_EQ(object.next().number(), peer_isn + 302);
  return object.trace();
}

TEST(PacketdrillObject, AConversationTwiceIsTheSameToTheMicrosecond) {
  const auto first = conversation();
  EXPECT_GE(first.size(), 6U);
  EXPECT_EQ(first, conversation());
}

TEST(PacketdrillObject, SendsWithZerocopyAreReportedOnce) {
  Object object;
  const Interface& call = object.table();
  void* u = object.data();
  std::uint32_t isn = 0;
  const int fd = object.accept(object.listen(), isn);
  const int on = 1;
  EXPECT_EQ(call.setsockopt(u, fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on), 0);
  std::array<char, 300> data{};
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(call.send(u, fd, data.data(), data.size(), MSG_ZEROCOPY), 300);
    EXPECT_EQ(object.next().text(), 300U);
  }
  EXPECT_EQ(call.send(u, fd, data.data(), data.size(), 0), 300);  // nobody waits for this
  pollfd watched{fd, 0, 0};
  EXPECT_EQ(call.poll(u, &watched, 1, 0), 1);
  EXPECT_EQ(watched.revents, POLLERR);
  alignas(cmsghdr) std::array<char, 256> control{};
  msghdr message{};
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ASSERT_EQ(call.recvmsg(u, fd, &message, MSG_ERRQUEUE), 0);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  ASSERT_NE(header, nullptr);
  EXPECT_EQ(header->cmsg_type, IP_RECVERR);
  sock_extended_err report{};
  std::memcpy(&report, CMSG_DATA(header), sizeof report);
  EXPECT_EQ(report.ee_origin, SO_EE_ORIGIN_ZEROCOPY);
  EXPECT_EQ(report.ee_code, SO_EE_CODE_ZEROCOPY_COPIED);
  EXPECT_EQ(report.ee_info, 0U);
  EXPECT_EQ(report.ee_data, 1U);
  EXPECT_EQ(call.recvmsg(u, fd, &message, MSG_ERRQUEUE), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(PacketdrillObject, RecvmsgSaysWhatIsLeft) {
  Object object;
  const Interface& call = object.table();
  void* u = object.data();
  std::uint32_t isn = 0;
  const int fd = object.accept(object.listen(), isn);
  const int on = 1;
  EXPECT_EQ(call.setsockopt(u, fd, IPPROTO_TCP, TCP_INQ, &on, sizeof on), 0);
  object.arrive(segment(psh | ack, peer_isn + 1, isn + 1, 300));
  object.arrive(segment(fin | ack, peer_isn + 301, isn + 1));
  for (const int left : {200, 100, 1}) {
    std::array<char, 100> data{};
    iovec part{data.data(), data.size()};
    alignas(cmsghdr) std::array<char, 64> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ASSERT_EQ(call.recvmsg(u, fd, &message, 0), 100);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    ASSERT_NE(header, nullptr);
    EXPECT_EQ(header->cmsg_type, TCP_CM_INQ);
    int said = 0;
    std::memcpy(&said, CMSG_DATA(header), sizeof said);
    EXPECT_EQ(said, left);
  }
}

TEST(PacketdrillObject, AnErrorIsMinusOneAndErrno) {
  const Object object;
  errno = 0;
  EXPECT_EQ(object.table().close(object.data(), 1'000'000), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(object.table().socket(object.data(), AF_UNIX, SOCK_STREAM, 0), -1);
  EXPECT_EQ(errno, EAFNOSUPPORT);
}

TEST(PacketdrillObject, APacketThatNeverComesHasNoBytes) {
  Object object;
  EXPECT_EQ(object.next().bytes.size(), 0U);
}

using PacketdrillObjectDeathTest = testing::Test;

TEST(PacketdrillObjectDeathTest, WrongFlagsAreOneLineAndStatusOne) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Interface table{};
  EXPECT_EXIT(load()("local=192.168.0.1,speed=9", &table), testing::ExitedWithCode(1),
              "^tidewire-packetdrill: unknown key 'speed' [^\n]*\n$");
  EXPECT_EXIT(load()("", &table), testing::ExitedWithCode(1),
              "^tidewire-packetdrill: --so_flags needs local=ADDRESS [^\n]*\n$");
}

}  // namespace
