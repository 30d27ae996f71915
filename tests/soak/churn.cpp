// The programs of a soak (tools/soak.py starts it under `tidewire run`): servers and clients that
// open and close connections, a supervisor that kills them at random, and two processes whose
// connections must survive all of it. Usage: tidewire_churn churn CONNECTIONS SECONDS SEED
// HOST_PORT HOST_ECHO_PORT
//        tidewire_churn outside         the servers of the host: prints these ports, ends with its
//        input
// Prints lines for tools/soak.py and takes a line after each: `warm ...`, `quiet ...`.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>

#include "exchange.hpp"
#include "keeper.hpp"

namespace soak {
namespace {

constexpr std::int64_t kHang = 30'000;  // milliseconds in which a connection must be over
constexpr double kKillEvery = 0.4;      // seconds, the mean
constexpr std::uint32_t kMostBytes = 64 * 1024;

struct Plan {
  std::uint64_t connections;
  double seconds;
  std::uint64_t seed;
  std::uint16_t host_port;
  std::uint16_t host_echo_port;
  std::array<int, kListeners> listeners;
  std::array<std::uint16_t, kListeners> ports;
};

std::uint16_t port_of(int fd) {
  sockaddr_in at{};
  socklen_t size = sizeof at;
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  return ntohs(at.sin_port);
}

int listen_anywhere() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in at = loopback(0);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      listen(fd, 512) != 0) {
    std::perror("soak: listen");
    std::exit(2);
  }
  return fd;
}

// --- servers ---

void be_server(const Worker& w, int listener, std::int32_t slot) {
  const Hello hello{slot, w.slot.life};
  const bool blocking = slot % 2 == 0;
  while (w.shared.phase != Phase::over) {
    if (!blocking && !w.wait_for(listener, POLLIN, 1000)) continue;
    // Others wait at the same listener, which stays blocking: the kernel's accept() waits as well.
    const int fd =
        w.again("accept", [&] { return accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); });
    if (fd < 0) {
      report(w.shared, "accept: %s", strerror(errno));
      return;
    }
    w.begin();
    serve(w, fd, hello);
    w.done();
  }
}

// --- clients ---

// A non-blocking connect, as event loops do it.
int connect_polling(const Worker& w, int fd, const sockaddr_in& to) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  int error = 0;
  const auto begin = [&] { return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to); };
  if (w.again("connect", begin) != 0) error = errno;
  if (error == EINPROGRESS || error == EALREADY) {
    w.step("poll");
    if (!w.wait_for(fd, POLLOUT, -1)) return EIO;
    socklen_t size = sizeof error;
    w.again("SO_ERROR", [&] { return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); });
  }
  if (error == EISCONN) error = 0;
  fcntl(fd, F_SETFL, 0);
  return error;
}

int connect_to(const Worker& w, int fd, const sockaddr_in& to, bool polling) {
  if (polling) return connect_polling(w, fd, to);
  for (;;) {
    w.step("connect");
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return 0;
    if (errno == EISCONN) return 0;  // an interrupted one went on
    if (errno != EINTR && errno != EALREADY) return errno;
    if (errno == EINTR && w.signals == Signals::restarting) {
      report(w.shared, "connect: EINTR in spite of SA_RESTART");
    }
    if (errno == EALREADY) usleep(1000);
  }
}

bool was_killed(const Shared& shared, const Hello& hello, bool told, std::int64_t since) {
  if (!told) return shared.server_killed_at >= since - 1000;
  return hello.slot >= 0 && shared.slots[static_cast<std::size_t>(hello.slot)].killed > hello.life;
}

void one_connection(Worker& w, const Plan& plan) {
  const bool outside = plan.host_port != 0 && w.random.below(10) == 0;
  const sockaddr_in to =
      loopback(outside ? plan.host_port : plan.ports[w.random.below(kListeners)]);
  Request request{w.random.next(), 0, static_cast<Close>(w.random.below(4))};
  // Most are small, as they are.
  request.size =
      static_cast<std::uint32_t>(w.random.below(w.random.below(8) == 0 ? kMostBytes : 512));
  const std::int64_t began = milliseconds();
  constexpr Hello kNobody{-2, 0};
  Hello hello = kNobody;
  const int fd = w.again("socket", [&] { return socket(AF_INET, SOCK_STREAM, 0); });
  const int error = fd < 0 ? errno : connect_to(w, fd, to, w.random.below(2) == 0);
  bool good = false;
  if (error == 0) {
    good = ask(w, fd, request, hello);
  } else if (fd >= 0) {
    close(fd);
  }
  if (good) {
    ++w.shared.finished;
    return;
  }
  const int why = error != 0 ? error : errno;
  if (!outside && was_killed(w.shared, hello, hello.slot != kNobody.slot, began)) {
    ++w.shared.broken;
    return;
  }
  report(w.shared, "a connection to %s port %u ended early, its server alive: %s (at %s, way %u)",
         outside ? "the host's" : "own", ntohs(to.sin_port), why != 0 ? strerror(why) : "its end",
         w.slot.doing.load(), static_cast<unsigned>(request.close));
}

void be_client(Worker& w, const Plan& plan, std::int64_t start) {
  const double interval = plan.seconds * 1000 / static_cast<double>(plan.connections);
  while (w.shared.phase != Phase::over) {
    const std::uint64_t ticket =
        w.shared.phase == Phase::churn ? w.shared.tickets++ : plan.connections;
    if (ticket >= plan.connections) {
      usleep(20'000);
      continue;
    }
    const std::int64_t due =
        start + static_cast<std::int64_t>(interval * static_cast<double>(ticket));
    for (std::int64_t now = 0; (now = milliseconds()) < due;)
      usleep(static_cast<useconds_t>((due - now) * 1000));
    while (w.shared.phase == Phase::quiet) usleep(1000);
    w.begin();
    one_connection(w, plan);
    w.done();
  }
}

// --- the supervisor ---

class Supervisor {
 public:
  explicit Supervisor(const Plan& plan)
      : plan_(plan), shared_(make_shared_page()), random_(plan.seed) {}

  int run() {
    keeper_ = listen_anywhere();
    keeper_port_ = port_of(keeper_);
    start_ = milliseconds();
    for (int i = 0; i < kSlots; ++i) start(i);
    // The first part fills pools and tables: what is held after it must not grow.
    churn_until(
        std::max(plan_.connections / 20, std::min<std::uint64_t>(plan_.connections / 3, 25'000)));
    pause("warm");
    churn_until(plan_.connections);
    pause("quiet");
    shared_.phase = Phase::over;
    end_all();
    std::printf("over\n");
    return shared_.problems == 0 ? 0 : 1;
  }

 private:
  static Signals signals_of(int slot) {
    const int place = slot < kServers              ? slot
                      : slot < kServers + kClients ? slot - kServers
                                                   : slot - kServers - kClients;
    if (slot >= kServers + kClients)
      return place == 0 ? Signals::restarting : Signals::interrupting;
    if (place < 4) return place < 2 ? Signals::restarting : Signals::interrupting;
    return Signals::none;
  }

  void start(int index) {
    Slot& slot = shared_.slots[static_cast<std::size_t>(index)];
    slot.busy_since = 0;
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      be(index, slot);
      _exit(0);
    }
    slot.pid = pid;
  }

  void be(int index, Slot& slot) {
    const Signals signals = signals_of(index);
    Worker w{shared_, slot, signals,
             Random(mix(plan_.seed + (slot.life * std::uint64_t{kSlots})) +
                    static_cast<std::uint64_t>(index))};
    start_signals(signals);
    if (index < kServers) {
      be_server(w, plan_.listeners[static_cast<std::size_t>(index % kListeners)], index);
    } else if (index < kServers + kClients) {
      be_client(w, plan_, start_);
    } else if (index == kServers + kClients) {
      keep_server(w, keeper_);
    } else {
      keep_client(w, keeper_port_, plan_.host_echo_port);
    }
  }

  bool all_idle() {
    return std::none_of(shared_.slots.begin(), shared_.slots.begin() + kServers + kClients,
                        [](const Slot& s) { return s.busy_since != 0; });
  }

  void churn_until(std::uint64_t connections) {
    while (shared_.finished + shared_.broken + lost_ < connections && shared_.problems == 0) {
      if (static_cast<double>(milliseconds() - start_) > 2000 * plan_.seconds) break;
      if (shared_.tickets >= plan_.connections && all_idle()) break;
      usleep(static_cast<useconds_t>(1000 + random_.below(2000)));
      kill_somebody();
      look_for_hangs();
      tell();
    }
  }

  void kill_somebody() {
    const std::int64_t now = milliseconds();
    if (now < next_kill_) return;
    const double wait =
        -std::log((static_cast<double>(random_.below(1'000'000)) + 1) / 1e6) * kKillEvery;
    next_kill_ = now + static_cast<std::int64_t>(wait * 1000);
    const int index = static_cast<int>(random_.below(kServers + kClients));
    Slot& slot = shared_.slots[static_cast<std::size_t>(index)];
    slot.killed = slot.life + 1;
    if (index < kServers) shared_.server_killed_at = now;
    kill(slot.pid, SIGKILL);
    waitpid(slot.pid, nullptr, 0);
    if (index < kServers) shared_.server_killed_at = milliseconds();
    // Its connection, if it had one, is nobody's to finish.
    if (index >= kServers && slot.busy_since != 0) ++lost_;
    ++kills_;
    ++slot.life;
    start(index);
  }

  void look_for_hangs() {
    const std::int64_t now = milliseconds();
    for (std::size_t i = 0; i < shared_.slots.size(); ++i) {
      const std::int64_t since = shared_.slots[i].busy_since;
      if (since == 0 || now - since < kHang) continue;
      const char* doing = shared_.slots[i].doing;
      report(shared_, "process %zu of %d hangs: %s, for %lld s", i, kSlots, doing ? doing : "?",
             static_cast<long long>((now - since) / 1000));
    }
  }

  void tell() {
    const std::int64_t now = milliseconds();
    if (now < next_word_) return;
    next_word_ = now + 1000;
    say("busy");
  }

  void say(const char* what) {
    std::printf(
        "%s finished=%llu broken=%llu lost=%llu kills=%llu problems=%llu interrupted=%llu "
        "kept_bytes=%llu\n",
        what, value(shared_.finished), value(shared_.broken),
        static_cast<unsigned long long>(lost_), static_cast<unsigned long long>(kills_),
        value(shared_.problems), value(shared_.interrupted), value(shared_.kept_bytes));
    if (shared_.problems != 0) std::printf("problem %s\n", shared_.problem.data());
    std::fflush(stdout);
  }

  static unsigned long long value(const std::atomic<std::uint64_t>& counter) { return counter; }

  // Nothing is under way; tools/soak.py measures and then answers.
  void pause(const char* what) {
    shared_.phase = Phase::quiet;
    usleep(100'000);
    for (int i = 0; i < 1000 && !all_idle(); ++i) usleep(10'000);
    if (!all_idle()) look_for_hangs();
    say(what);
    (void)std::getchar();
    shared_.phase = Phase::churn;
  }

  void end_all() {
    const std::int64_t until = milliseconds() + 1000;
    while (milliseconds() < until && waitpid(-1, nullptr, WNOHANG) >= 0) usleep(10'000);
    for (const Slot& slot : shared_.slots) kill(slot.pid, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
  }

  const Plan& plan_;
  Shared& shared_;
  Random random_;
  int keeper_ = -1;
  std::uint16_t keeper_port_ = 0;
  std::int64_t start_ = 0;
  std::int64_t next_kill_ = 0;
  std::int64_t next_word_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t kills_ = 0;
};

// --- outside ---

// As many processes as connections can be there at once, so that none waits for another.
int serve_outside() {
  Shared& shared = make_shared_page();
  const int listener = listen_anywhere();
  const int echo = listen_anywhere();
  std::printf("%u %u\n", port_of(listener), port_of(echo));
  std::fflush(stdout);
  for (int i = 0; i < kClients; ++i) {
    if (fork() != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    start_signals(Signals::none);
    const Worker w{shared, shared.slots[0], Signals::none, Random(1)};
    if (i == 0) keep_server(w, echo);
    for (int fd = -1; (fd = accept(listener, nullptr, nullptr)) >= 0;) serve(w, fd, {-1, 0});
    _exit(0);
  }
  while (std::getchar() != EOF) {
  }
  return 0;
}

int usage() {
  std::fprintf(
      stderr,
      "usage: tidewire_churn churn CONNECTIONS SECONDS SEED HOST_PORT HOST_ECHO_PORT | outside\n");
  return 2;
}

int main_of(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "outside") == 0) return serve_outside();
  if (argc != 7 || std::strcmp(argv[1], "churn") != 0) return usage();
  Plan plan{};
  plan.connections = std::strtoull(argv[2], nullptr, 10);
  plan.seconds = std::strtod(argv[3], nullptr);
  plan.seed = std::strtoull(argv[4], nullptr, 10);
  plan.host_port = static_cast<std::uint16_t>(std::strtoul(argv[5], nullptr, 10));
  plan.host_echo_port = static_cast<std::uint16_t>(std::strtoul(argv[6], nullptr, 10));
  if (plan.connections == 0 || plan.seconds <= 0) return usage();
  for (std::size_t i = 0; i < kListeners; ++i) {
    plan.listeners[i] = listen_anywhere();
    plan.ports[i] = port_of(plan.listeners[i]);
  }
  return Supervisor(plan).run();
}

}  // namespace
}  // namespace soak

int main(int argc, char** argv) { return soak::main_of(argc, argv); }
