// A guest in a network namespace of its own and a process of its host, through a gateway:
// tidewire's, slirp4netns or pasta. Usage: gateway_bench [--list | CASE [SECONDS [CORES]]]; CASE is
// WHO_WHAT, for example gateway_out. CORES 1 pins everything to one core. Prints `CASE VALUE UNIT`.
// Needs root. The guest is the kernel's TCP with CUBIC on a TAP device, MTU 1500. The host is a
// namespace too: all its traffic is on its own 127.0.0.1.
#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "cases.hpp"
#include "kernel_side.hpp"

namespace tidewire::bench {
namespace {

struct Who {
  const char* name;  ///< of the cases
  const char* program;
  const char* address;  ///< that stands for the host's 127.0.0.1
};
constexpr std::array kWho = {
    Who{"gateway", "tidewire", "10.0.2.2"},
    Who{"slirp4netns", "slirp4netns", "10.0.2.2"},
    Who{"pasta", "pasta", "192.0.2.1"},
};

struct What {
  const char* name;
  Service service;
  const char* unit;
};
constexpr std::array kWhat = {
    What{"out", kSink, "Gbit/s"},
    What{"in", kSource, "Gbit/s"},
    What{"round_trips", kEcho, "round trips/s"},
    What{"connections", kOneByte, "connections/s"},
};

/// `build/lto/tidewire` beside `build/lto/bench/gateway_bench`.
std::string tidewire_path() {
  std::array<char, 4096> own{};
  const ssize_t size = readlink("/proc/self/exe", own.data(), own.size() - 1);
  if (size <= 0) give_up("/proc/self/exe");
  std::string path(own.data(), static_cast<std::size_t>(size));
  path.resize(path.rfind('/'));
  return path + "/../tidewire";
}

/// A child that runs a program, whose output is shown if it ends too early.
class Program {
 public:
  explicit Program(const std::vector<std::string>& words)
      : log_(memfd_create("log", MFD_CLOEXEC)), child_([&] { become(words, log_); }) {}
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { close(log_); }

  /// Ends this process if the program has ended.
  void must_live() const {
    int status = 0;
    if (waitpid(child_.pid(), &status, WNOHANG) == 0) return;
    std::array<char, 4096> text{};
    const ssize_t size = pread(log_, text.data(), text.size() - 1, 0);
    std::fprintf(stderr, "%s\nbench: the gateway ended by itself\n", size > 0 ? text.data() : "");
    std::exit(1);
  }

 private:
  [[noreturn]] static void become(const std::vector<std::string>& words, int log) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    signal(SIGPIPE, SIG_DFL);  // pasta takes an ignored one for an error
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    dup2(log, 1);
    dup2(log, 2);
    execvp(arguments[0], arguments.data());
    std::fprintf(stderr, "%s is not there: %s\n", arguments[0], std::strerror(errno));
    _exit(127);
  }
  int log_;
  Child child_;
};

/// The guest: waits in its namespace until it is told to begin, then tells its figure.
class Guest {
 public:
  Guest(const Who& who, const What& what, double seconds)
      : child_([&] { run(who, what, seconds); }) {
    if (take<char>(from_[0]) != 'r') give_up("the guest");
  }
  std::string pid() const { return std::to_string(child_.pid()); }
  std::string enter() const { return "nsenter -n -t " + pid() + " "; }
  /// A descriptor of its network namespace, which programs inherit: pasta gives up the right to
  /// look into other processes before it asks for theirs.
  int open_namespace() const {
    const int fd = open(("/proc/" + pid() + "/ns/net").c_str(), O_RDONLY);
    if (fd < 0) give_up("the guest's namespace");
    return fd;
  }
  void begin() { put(to_[1], 'g'); }
  double figure() { return take<double>(from_[0]); }

 private:
  struct Ends {
    int fd[2];
    Ends() {
      if (pipe2(fd, O_CLOEXEC) != 0) give_up("pipe");
    }
    int operator[](int i) const { return fd[i]; }
  };
  template <typename T>
  static void put(int fd, T value) {
    if (write(fd, &value, sizeof value) != sizeof value) give_up("a pipe");
  }
  template <typename T>
  T take(int fd) {
    T value{};
    if (read(fd, &value, sizeof value) != sizeof value) give_up("the guest ended");
    return value;
  }
  void run(const Who& who, const What& what, double seconds) {
    close(from_[0]);
    if (unshare(CLONE_NEWNET) != 0) give_up("unshare");
    shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.tcp_tw_reuse=1");
    put(from_[1], 'r');
    if (take<char>(to_[0]) != 'g') give_up("a pipe");
    put(from_[1], kernel_client(who.address, what.service, seconds));
    pause();
  }

  Ends to_, from_;
  Child child_;
};

bool succeeds(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

void wait_for(const Program& program, const std::string& command) {
  for (int i = 0; i < 500; ++i) {
    if (succeeds(command)) return;
    program.must_live();
    usleep(10'000);
  }
  std::fprintf(stderr, "bench: not within five seconds: %s\n", command.c_str());
  std::exit(1);
}

std::vector<std::string> command_of(const Who& who, const Guest& guest) {
  const std::string_view name = who.name;
  if (name == "gateway") return {tidewire_path(), "gateway", "--tap", "tw0"};
  if (name == "slirp4netns") {
    return {"slirp4netns", "--configure", "--mtu=1500", "--disable-dns", guest.pid(), "tw0"};
  }
  return {"pasta",        "--foreground",
          "--ipv4-only",  "--config-net",
          "--mtu",        "1500",
          "--ns-ifname",  "tw0",
          "--tcp-ports",  "none",
          "--udp-ports",  "none",
          "--tcp-ns",     "none",
          "--udp-ns",     "none",
          "--runas",      "0",
          "--netns-only", "--no-netns-quit",
          "--netns",      "/proc/self/fd/" + std::to_string(guest.open_namespace())};
}

/// Gives the guest its device, if the gateway does not do so itself, and waits until it can be
/// used.
void join(const Who& who, const Guest& guest, const Program& program) {
  const std::string_view name = who.name;
  if (name == "gateway") {
    wait_for(program, "ip link show tw0");
    shell("ip link set tw0 netns " + guest.pid());
    // The gateway asks for the state of its device by name.
    shell("ip link add tw0 type bridge && ip link set tw0 up");
    shell(guest.enter() + "sh -c 'ip addr add 10.0.2.15/24 dev tw0 && ip link set tw0 up && " +
          "ip route add default via 10.0.2.2'");
  }
  wait_for(program, guest.enter() + "ip route get 192.0.2.77");
  // Its default of 1000 packets overflows, and then it recovers at a crawl.
  if (name == "pasta") shell(guest.enter() + "ip link set tw0 txqueuelen 10000");
}

int run(const Who& who, const What& what, double seconds, int cores) {
  enter_namespace();
  // What pasta copies the guest's addresses from.
  shell(
      "ip link add up0 type veth peer name up1 && ip addr add 192.0.2.2/24 dev up0 && "
      "ip link set up0 up && ip link set up1 up && ip route add default via 192.0.2.1");
  if (cores == 1) pin(0);
  const Child server([&] { serve(what.service); });
  Guest guest(who, what, seconds);
  const Program program(command_of(who, guest));
  join(who, guest, program);
  usleep(100'000);
  guest.begin();
  std::printf("%s_%s %.3f %s\n", who.name, what.name, guest.figure(), what.unit);
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const double seconds = seconds_argument(argc, argv);
  const int cores = cores_argument(argc, argv, 0);
  std::vector<std::string> names;
  for (const Who& who : kWho) {
    for (const What& what : kWhat) names.push_back(std::string(who.name) + "_" + what.name);
  }
  constexpr std::size_t kEach = std::size(kWhat);
  return run_cases(
      argc, argv, names, "gateway_bench [--list | CASE [SECONDS [CORES]]]",
      [&](std::size_t i) { return run(kWho[i / kEach], kWhat[i % kEach], seconds, cores); });
}
