#include "front/control/server.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <thread>

#include "front/control/address.hpp"
#include "front/control/claim.hpp"
#include "front/control/client.hpp"
#include "front/control/testing/directory.hpp"

namespace tidewire::control {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Echo final : Handler {
  std::vector<ConnectionId> ended;
  std::uint64_t chunks = 0;
  bool descriptor_came = false;

  Reply answer(Request& request, Instant) override {
    const std::string_view kind = request.record.kind();
    if (kind == "no") return {.lines = {}, .more = {}, .error = "never"};
    if (kind == "stay") return {.lines = {}, .more = {}, .error = {}, .keep = true};
    if (kind == "take") {
      descriptor_came = static_cast<bool>(request.passed);
      return {.lines = {}, .more = {}, .error = {}, .keep = true};
    }
    Reply reply;
    if (kind == "much") {
      reply.more = [this](std::string& out) {
        out.append(to_line(Record("line").add("x", std::string(1000, 'x'))));
        return ++chunks < 4000;
      };
      return reply;
    }
    reply.lines = to_line(request.record);
    return reply;
  }
  void gone(ConnectionId connection) override { ended.push_back(connection); }
};

/// A server in a thread of its own.
class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : place_(directory_.place()) {
    auto claim = Claim::take(place_, "h");
    EXPECT_TRUE(claim && *claim);
    claim_.emplace(std::move(**claim));
  }
  ~ServerTest() override { stop(); }

  void start(const ServerLimits& limits = {}) {
    server_.emplace(driver_, claim_->listener(), echo_, limits);
    thread_ = std::thread([this] { driver_.run(); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    driver_.stop();
    thread_.join();
  }
  Client connect() {
    auto client = Client::connect(place_, "h");
    EXPECT_TRUE(client && *client) << (client ? "nobody there" : client.error());
    return std::move(**client);
  }
  std::string error_of(Client client, const Record& request) {
    const auto reply = client.ask(request);
    return reply ? "" : reply.error();
  }
  runtime::Fd raw() {
    runtime::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress address(place_.directory.get(), "h.sock");
    EXPECT_EQ(::connect(fd.get(), address.get(), address.size()), 0);
    return fd;
  }
  static std::string read_all(int fd) {
    std::string text;
    char room[65536];
    ssize_t n = 0;
    while ((n = recv(fd, room, sizeof room, 0)) > 0) text.append(room, static_cast<std::size_t>(n));
    return text;
  }
  static void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  bool still_answers() { return connect().ask(Record("hello")).has_value(); }

  test::TemporaryDirectory directory_;
  Place place_;
  std::optional<Claim> claim_;
  runtime::Driver driver_;
  Echo echo_;
  std::optional<Server> server_;
  std::thread thread_;
};

TEST_F(ServerTest, AnswersOneRequestAConnection) {
  start();
  Client client = connect();
  const auto reply = client.ask(Record("hello").add("to", "you all"));
  ASSERT_TRUE(reply.has_value()) << reply.error();
  ASSERT_EQ(reply->size(), 1U);
  EXPECT_EQ(reply->front().get("to"), "you all");
  EXPECT_EQ(client.ask(Record("hello")).error(), "host h has ended");
  EXPECT_EQ(error_of(connect(), Record("no")), "host h: never");
}

TEST_F(ServerTest, HostileRequestsGetAnErrorAndHarmNobody) {
  start({.request_time = Duration::millis(300)});
  const std::pair<std::string, const char*> cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", "that is no request"},
      {std::string("\0\xff\n", 3), "that is no request"},
      {"\n", "that is no request"},
      {std::string(4097, 'a'), "one line of at most 4096 bytes"},
      {std::string(1'000'000, 'a') + "\n", "one line of at most 4096 bytes"},
      {"hello", "no whole request came in time"},
      {"", "no whole request came in time"},
  };
  for (const auto& [text, expected] : cases) {
    const runtime::Fd fd = raw();
    write_all(fd.get(), text);
    EXPECT_THAT(read_all(fd.get()), StartsWith("error text=")) << text.substr(0, 20);
    const runtime::Fd again = raw();
    write_all(again.get(), text);
    const std::string said = read_all(again.get());
    const auto record = parse_record(said.substr(0, said.find('\n')));
    ASSERT_TRUE(record.has_value()) << said;
    EXPECT_THAT(std::string(record->get("text")), HasSubstr(expected));
  }
  EXPECT_TRUE(still_answers());
}

TEST_F(ServerTest, TooManyAtOnceAreToldSo) {
  start({.connections = 4});
  std::vector<runtime::Fd> idle;
  for (int i = 0; i < 4; ++i) idle.push_back(raw());
  EXPECT_EQ(error_of(connect(), Record("hello")),
            "host h: the host answers too many requests already; try again");
  idle.clear();
  // The server sees them go in its own time.
  bool answered = false;
  for (int i = 0; i < 200 && !answered; ++i) answered = still_answers();
  EXPECT_TRUE(answered);
}

TEST_F(ServerTest, ASlowReaderHoldsNoMemoryAndIsLetGo) {
  start({.reply_time = Duration::millis(300)});
  const runtime::Fd slow = raw();
  write_all(slow.get(), "much\n");
  EXPECT_TRUE(still_answers());
  std::this_thread::sleep_for(std::chrono::milliseconds(900));
  EXPECT_TRUE(still_answers());
  stop();
  EXPECT_LT(echo_.chunks, 2000U) << "made only what was taken";
  EXPECT_EQ(server_->connections(), 0U);
  // One that does read gets it all.
  thread_ = std::thread([this] { driver_.run(); });
  echo_.chunks = 0;
  const auto reply = connect().ask(Record("much"));
  ASSERT_TRUE(reply.has_value()) << reply.error();
  EXPECT_EQ(reply->size(), 4000U);
}

TEST_F(ServerTest, AKeptConnectionSpeaksUntilOneSideEnds) {
  start({.request_time = Duration::millis(100)});
  {
    Client client = connect();
    EXPECT_TRUE(client.ask(Record("stay")).has_value());
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // silence is no fault
    const runtime::Fd passed(open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(client.ask(Record("take"), passed.get()).has_value());
    EXPECT_FALSE(client.ended());
  }
  // A second one, while the first is still being noticed.
  Client client = connect();
  EXPECT_TRUE(client.ask(Record("stay")).has_value());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(still_answers());
  stop();
  EXPECT_TRUE(echo_.descriptor_came);
  ASSERT_EQ(echo_.ended.size(), 1U);
  EXPECT_TRUE(server_->say(echo_.ended.front() + 1, Record("news").add("text", "hi")));
  const auto news = client.poll();
  ASSERT_TRUE(news.has_value());
  EXPECT_EQ(news->get("text"), "hi");
  server_.reset();
  EXPECT_FALSE(client.poll().has_value());
  EXPECT_TRUE(client.ended());
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

TEST_F(ServerTest, OfSeveralDescriptorsOneIsTaken) {
  start();
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 10; ++i) {
    const runtime::Fd fd = raw();
    const std::array<int, 2> passed{0, 0};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof passed)> room{};
    std::string line = "hello\n";
    iovec part{line.data(), line.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = room.data();
    header.msg_controllen = room.size();
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(head), passed.data(), sizeof passed);
    ASSERT_EQ(sendmsg(fd.get(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(line.size()));
    EXPECT_THAT(read_all(fd.get()), HasSubstr("ok"));
  }
  stop();
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace tidewire::control
