// tidewire doctor: what this machine allows, and what to do about what it does not.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "apps/commands.hpp"
#include "apps/program.hpp"
#include "apps/virtual_network.hpp"
#include "front/gateway/address_map.hpp"
#include "front/posix/features.hpp"
#include "front/posix/own_network.hpp"
#include "runtime/fd.hpp"

namespace tidewire::apps {

namespace {

enum class Grade : unsigned char { good, limited, missing };

struct Finding {
  Grade grade = Grade::good;
  std::string what;
  std::string advice;  ///< what follows and what to do; empty if all is well
};

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string container_kind() {
  if (access("/.dockerenv", F_OK) == 0) return "Docker";
  if (access("/run/.containerenv", F_OK) == 0) return "Podman";
  const std::string cgroup = first_line("/proc/1/cgroup");
  for (const char* word : {"docker", "kubepods", "containerd", "lxc"}) {
    if (cgroup.find(word) != std::string::npos) return word;
  }
  return {};
}

/// Whether a child may do something; the child's exit status is an errno value.
template <typename Action>
int try_in_child(Action action) {
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) _exit(action());
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return EFAULT;
  return WEXITSTATUS(status);
}

void check_interception(std::vector<Finding>& findings, const std::string& container) {
  const posix::Features features = posix::probe_features();
  const std::string how = container.empty()
                              ? "use a kernel of 5.14 or later with CONFIG_SECCOMP_FILTER"
                              : "start the container with a seccomp profile that allows it "
                                "(docker run --security-opt seccomp=unconfined)";
  if (features.user_notification) {
    findings.push_back({Grade::good, "seccomp user notification (for run)", ""});
  } else {
    findings.push_back(
        {Grade::missing, "seccomp user notification", "run cannot intercept programs; " + how});
  }
  if (!features.process_vm) {
    findings.push_back({Grade::missing, "process_vm_readv",
                        "run cannot read the arguments of socket calls; allow it in the seccomp "
                        "profile, or set kernel.yama.ptrace_scope to 1 or less"});
  }
  if (!features.pidfd_getfd) {
    findings.push_back({Grade::limited, "pidfd_getfd",
                        container.empty()
                            ? "run uses a slower way; check kernel.yama.ptrace_scope"
                            : "run uses a slower way; docker run --cap-add SYS_PTRACE gives it"});
  }
  for (const std::string& line : posix::explain_missing(features)) {
    const bool covered = line.find("pidfd_getfd") != std::string::npos ||
                         line.find("process_vm") != std::string::npos ||
                         line.find("user notification") != std::string::npos;
    if (!covered) findings.push_back({Grade::limited, line, "run works with that limit"});
  }
}

void check_yama(std::vector<Finding>& findings) {
  const std::string scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
  if (scope.empty() || scope == "0" || scope == "1") {
    findings.push_back(
        {Grade::good, "ptrace scope " + (scope.empty() ? "unrestricted" : scope), ""});
  } else {
    findings.push_back({Grade::missing, "kernel.yama.ptrace_scope is " + scope,
                        "run cannot look into the programs it starts; as root: sysctl -w "
                        "kernel.yama.ptrace_scope=1"});
  }
}

void check_devices(std::vector<Finding>& findings, const std::string& container) {
  const runtime::Fd tun(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (tun) {
    findings.push_back(
        {Grade::good, "/dev/net/tun (for --tap; making an interface needs CAP_NET_ADMIN)", ""});
  } else if (errno == ENOENT) {
    findings.push_back({Grade::limited, "no /dev/net/tun",
                        container.empty()
                            ? "--tap is not possible; as root: modprobe tun"
                            : "--tap is not possible; docker run --device /dev/net/tun"});
  } else {
    findings.push_back({Grade::limited, std::string("/dev/net/tun: ") + std::strerror(errno),
                        "--tap is not possible for this user; as root: ip tuntap add dev tap0 mode "
                        "tap user $USER, and chmod 666 /dev/net/tun"});
  }
  const int error =
      try_in_child([] { return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 ? 0 : errno; });
  if (error == 0) {
    findings.push_back({Grade::good, "user and network namespaces (for --veth without root)", ""});
  } else {
    findings.push_back({Grade::limited,
                        std::string("no unprivileged user namespaces: ") + std::strerror(error),
                        "--veth needs root here; as root: sysctl -w "
                        "kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000"});
  }
}

void check_own_network(std::vector<Finding>& findings) {
  const posix::OwnNetworkConfig config = network_to_show(1500);
  const auto failure = posix::probe_own_network(config);
  if (!failure) {
    findings.push_back({Grade::good,
                        "a network namespace for programs under run: what is not intercepted leads "
                        "nowhere",
                        ""});
  } else {
    findings.push_back(
        {Grade::limited, "no network namespace for programs: " + explain(*failure, config),
         "run leaves programs in this host's: sockets that it does not intercept, such as "
         "io_uring's, are this host's"});
  }
}

void check_kernel_tcp(std::vector<Finding>& findings) {
  posix::OwnNetworkConfig config = network_to_show(1500);
  config.carrier = true;
  config.resolver = kResolverAddress;
  if (const auto failure = posix::probe_own_network(config)) {
    findings.push_back({Grade::limited, "no --tcp kernel: " + explain(*failure, config),
                        "run has the TCP of this stack only"});
  } else {
    findings.push_back({Grade::good, "run --tcp kernel", ""});
  }
}

void check_io_uring(std::vector<Finding>& findings, const std::string& container) {
  io_uring_params parameters{};
  const runtime::Fd ring(static_cast<int>(syscall(SYS_io_uring_setup, 2U, &parameters)));
  if (ring) {
    findings.push_back({Grade::good, "io_uring (for --io-uring with TAP and TUN)", ""});
    return;
  }
  const int error = errno;
  const std::string failure = std::string("no io_uring: ") + std::strerror(error);
  std::string advice = "--io-uring is not possible; ";
  if (!container.empty()) {
    advice += "allow it in the seccomp profile (docker run --security-opt seccomp=unconfined)";
  } else if (error == EPERM) {
    advice += "as root: sysctl -w kernel.io_uring_disabled=0";
  } else {
    advice += "it needs a kernel with CONFIG_IO_URING";
  }
  findings.push_back({Grade::limited, failure, advice});
}

void check_af_xdp(std::vector<Finding>& findings, const std::string& container) {
  const runtime::Fd socket_of_xdp(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (socket_of_xdp) {
    findings.push_back(
        {Grade::good,
         "AF_XDP sockets (for --device xdp:; the program in front needs CAP_NET_ADMIN and CAP_BPF)",
         ""});
  } else if (errno == EAFNOSUPPORT) {
    findings.push_back({Grade::limited, "no AF_XDP sockets",
                        "--device xdp: needs a kernel with CONFIG_XDP_SOCKETS"});
  } else {
    findings.push_back(
        {Grade::limited, std::string("AF_XDP sockets: ") + std::strerror(errno),
         container.empty() ? "--device xdp: needs root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF)"
                           : "--device xdp: needs docker run --cap-add NET_RAW --cap-add NET_ADMIN "
                             "--cap-add BPF"});
  }
}

void check_sockets(std::vector<Finding>& findings) {
  const runtime::Fd echo(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
  if (echo) {
    findings.push_back({Grade::good, "unprivileged ICMP echo (ping beyond the gateway)", ""});
  } else {
    findings.push_back({Grade::limited, "no unprivileged ICMP echo",
                        "ping reaches the gateway only; as root: sysctl -w "
                        "net.ipv4.ping_group_range='0 2147483647'"});
  }
  const std::string first = first_line("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  if (!first.empty() && first != "0") {
    findings.push_back(
        {Grade::good,
         "--publish to host ports from " + first + " (any port inside the virtual host)", ""});
  }
  if (const auto resolver = gateway::host_resolver()) {
    findings.push_back({Grade::good, "DNS through " + to_string(resolver->address), ""});
  } else {
    findings.push_back({Grade::limited, "no resolver in /etc/resolv.conf",
                        "names cannot be looked up through 10.0.2.3"});
  }
}

int examine() {
  std::vector<Finding> findings;
  const std::string container = container_kind();
  utsname kernel{};
  uname(&kernel);
  fmt::print("Linux {} {}{}, user {}\n", kernel.release, kernel.machine,
             container.empty() ? "" : ", in a container (" + container + ")", geteuid());
  check_interception(findings, container);
  check_yama(findings);
  check_devices(findings, container);
  check_own_network(findings);
  check_kernel_tcp(findings);
  check_io_uring(findings, container);
  check_af_xdp(findings, container);
  check_sockets(findings);
  bool usable = true;
  for (const Finding& finding : findings) {
    const char* mark = finding.grade == Grade::good      ? "ok      "
                       : finding.grade == Grade::limited ? "limited "
                                                         : "MISSING ";
    fmt::print("{}{}\n", mark, finding.what);
    if (!finding.advice.empty()) fmt::print("        -> {}\n", finding.advice);
    usable = usable && finding.grade != Grade::missing;
  }
  fmt::print("{}\n", usable ? "`tidewire run` works here." : "`tidewire run` does not work here.");
  return usable ? 0 : 1;
}

}  // namespace

void add_doctor(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("doctor", "Say what this machine allows, and what to do about the rest");
  command->footer(
      "Exit status: 0 if `tidewire run` works here, 1 if something it needs is missing.");
  command->callback([&status] { status = examine(); });
}

}  // namespace tidewire::apps
