#include "front/posix/guard.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "front/posix/kernel_abi.hpp"
#include "runtime/passed_fd.hpp"

namespace tidewire::posix {
namespace {

// Signals that terminals send to the whole group, or that users send to stop a run: the guard must
// survive them to do its work.
constexpr int ignored[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGTSTP};

struct SavedSignals {
  struct sigaction actions[std::size(ignored)];
  sigset_t mask;
};

void set_up_signals(SavedSignals& saved) {
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  for (std::size_t i = 0; i < std::size(ignored); ++i) {
    ::sigaction(ignored[i], &ignore, &saved.actions[i]);
  }
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child, &saved.mask);
}

void restore_signals(const SavedSignals& saved) {
  for (std::size_t i = 0; i < std::size(ignored); ++i) {
    struct sigaction action = saved.actions[i];
    // A handler of the parent's code cannot survive exec anyway.
    if (action.sa_handler != SIG_IGN) action.sa_handler = SIG_DFL;
    ::sigaction(ignored[i], &action, nullptr);
  }
  ::sigprocmask(SIG_SETMASK, &saved.mask, nullptr);
}

// The parent's descriptors (devices, twins) must not live on in the guard; what the program is
// meant to inherit is not close-on-exec.
void close_inherited(int keep) {
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return;
  std::vector<int> numbers;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') numbers.push_back(std::atoi(entry->d_name));
  }
  const int own = ::dirfd(dir);
  for (const int fd : numbers) {
    if (fd == keep || fd == own) continue;
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) != 0) ::close(fd);
  }
  ::closedir(dir);
}

void say(int control, GuardMessage::Kind kind, int value, int fd = -1) {
  GuardMessage message{kind, value, 0, 0};
  (void)runtime::send_with_fd(control, &message, sizeof message, fd);
}

/// The program's namespaces are the guard's; what outlives this call holds them.
OwnNetwork set_up_network(int control, const OwnNetworkConfig& config) {
  auto made = enter_own_network(config);
  if (!made) {
    const NetworkFailure& failure = made.error();
    const GuardMessage message{GuardMessage::Kind::network_failed, failure.error,
                               static_cast<std::int32_t>(failure.step), failure.detail};
    (void)runtime::send_with_fd(control, &message, sizeof message, -1);
    ::_exit(125);
  }
  const int bits = (made->own_users ? has_own_users : 0) + (made->interface ? has_interface : 0) +
                   (made->tun ? has_tun : 0);
  const GuardMessage message{GuardMessage::Kind::network, bits, made->index, 0};
  (void)runtime::send_with_fd(control, &message, sizeof message, -1);
  if (made->control) say(control, GuardMessage::Kind::network_control, 0, made->control.get());
  if (made->carrier) say(control, GuardMessage::Kind::network_carrier, 0, made->carrier.get());
  made->control.reset();
  made->carrier.reset();
  return std::move(*made);
}

// What the program's process reports before it executes; through pipes, as sendmsg is filtered.
struct Report {
  int listener;
  int error;
};

Report install_filter(const LaunchConfig& config) {
  std::vector<sock_filter> code = build_filter(config.filter);
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  if (config.features.wait_killable) flags |= abi::filter_flag_wait_killable;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return {-1, errno};
  const int listener = abi::seccomp(SECCOMP_SET_MODE_FILTER, flags, &program);
  return {listener, listener < 0 ? errno : 0};
}

// What the user has there stays the first.
void add_to_preload(const std::string& library) {
  const char* others = ::getenv("LD_PRELOAD");
  const std::string all =
      others == nullptr || *others == '\0' ? library : std::string(others) + ":" + library;
  ::setenv("LD_PRELOAD", all.c_str(), 1);
}

[[noreturn]] void program_main(const LaunchConfig& config, const SavedSignals& saved,
                               int report_pipe, int go_pipe) {
  Report report{-1, 0};
  std::vector<char*> argv;
  for (const std::string& word : config.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  restore_signals(saved);
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    report.error = errno;
  } else if (config.intercept) {
    report = install_filter(config);
  }
  (void)!::write(report_pipe, &report, sizeof report);
  char go = 0;
  if (report.error != 0 || ::read(go_pipe, &go, 1) != 1) ::_exit(125);
  if (!config.preload.empty()) add_to_preload(config.preload);
  ::execvp(argv[0], argv.data());
  report.error = errno;
  (void)!::write(report_pipe, &report, sizeof report);
  ::_exit(125);
}

// All processes below this one.
std::vector<pid_t> descendants() {
  struct Process {
    pid_t pid;
    pid_t parent;
  };
  std::vector<Process> all;
  DIR* dir = ::opendir("/proc");
  if (dir == nullptr) return {};
  while (const dirent* entry = ::readdir(dir)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
    char text[512];
    const ssize_t n = file ? ::read(file.get(), text, sizeof text - 1) : -1;
    if (n <= 0) continue;
    text[n] = '\0';
    // The name may hold blanks and parentheses: the last one ends it.
    const char* after = std::strrchr(text, ')');
    int parent = 0;
    if (after != nullptr && std::sscanf(after + 1, " %*c %d", &parent) == 1) {
      all.push_back({pid, parent});
    }
  }
  ::closedir(dir);
  std::vector<pid_t> found{::getpid()};
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const Process& p : all) {
      if (p.parent == found[i]) found.push_back(p.pid);
    }
  }
  found.erase(found.begin());
  return found;
}

// The process that owned the sockets is gone, and cannot tell why its programs end.
void tell_of_lost_run(const std::vector<pid_t>& programs) {
  char line[96];
  const int n = std::snprintf(line, sizeof line,
                              "tidewire: the run was killed; ending what it ran (%zu %s)\n",
                              programs.size(), programs.size() == 1 ? "process" : "processes");
  if (n > 0 && !programs.empty()) (void)!::write(STDERR_FILENO, line, static_cast<std::size_t>(n));
}

[[noreturn]] void end_everything(int control) {
  for (int round = 0; round < 500; ++round) {
    for (const pid_t pid : descendants()) ::kill(pid, SIGKILL);
    pid_t reaped = 0;
    while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (reaped < 0 && errno == ECHILD) break;
    ::poll(nullptr, 0, 5);
  }
  say(control, GuardMessage::Kind::all_ended, 0);
  ::_exit(0);
}

// Collects ended children; true once none is left.
bool reap(int control, pid_t program, int report_pipe) {
  int status = 0;
  pid_t pid = 0;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != program) continue;
    Report report{};
    if (::read(report_pipe, &report, sizeof report) == sizeof report) {
      say(control, GuardMessage::Kind::exec_failed, report.error);
    }
    say(control, GuardMessage::Kind::program_ended, status);
  }
  return pid < 0 && errno == ECHILD;
}

[[noreturn]] void watch(int control, pid_t program, int report_pipe) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const int signals = ::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  for (;;) {
    if (reap(control, program, report_pipe)) {
      say(control, GuardMessage::Kind::all_ended, 0);
      ::_exit(0);
    }
    pollfd watched[2] = {{control, POLLIN, 0}, {signals, POLLIN, 0}};
    ::poll(watched, 2, -1);
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) == sizeof info) {
    }
    if ((watched[0].revents & (POLLIN | POLLHUP)) == 0) continue;
    GuardMessage message{};
    const ssize_t n = ::recv(control, &message, sizeof message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n != sizeof message) tell_of_lost_run(descendants());
    if (n != sizeof message || message.kind == GuardMessage::Kind::end_all) end_everything(control);
    if (message.kind == GuardMessage::Kind::forward) ::kill(program, message.value);
  }
}

}  // namespace

void guard_main(int control, const LaunchConfig& config) {
  SavedSignals saved;
  set_up_signals(saved);
  close_inherited(control);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  OwnNetwork network;
  if (config.network) network = set_up_network(control, *config.network);
  int report_pipe[2];
  int go_pipe[2];
  if (::pipe2(report_pipe, O_CLOEXEC) != 0 || ::pipe2(go_pipe, O_CLOEXEC) != 0) {
    say(control, GuardMessage::Kind::start_failed, errno);
    ::_exit(125);
  }
  // With a common descriptor table the listener appears here without any further call: the
  // program's process could neither send it (that is filtered already) nor be asked for it where
  // pidfd_getfd is denied. Executing gives the program its own table.
  const auto program = static_cast<pid_t>(
      ::syscall(SYS_clone, static_cast<unsigned long>(CLONE_FILES | SIGCHLD), 0, 0, 0, 0));
  if (program == 0) program_main(config, saved, report_pipe[1], go_pipe[0]);
  Report report{-1, program < 0 ? errno : 0};
  if (program > 0) {
    pollfd look{report_pipe[0], POLLIN, 0};
    if (::poll(&look, 1, 10000) <= 0 ||
        ::read(report_pipe[0], &report, sizeof report) != sizeof report) {
      report.error = ECHILD;
    }
  }
  if (report.error != 0) {
    say(control, GuardMessage::Kind::start_failed, report.error);
    ::_exit(125);
  }
  if (config.intercept) {
    say(control, GuardMessage::Kind::listener, 0, report.listener);
    ::close(report.listener);
  } else {
    say(control, GuardMessage::Kind::started, 0);
  }
  (void)!::write(go_pipe[1], "g", 1);
  ::fcntl(report_pipe[0], F_SETFL, O_NONBLOCK);
  watch(control, program, report_pipe[0]);
}

}  // namespace tidewire::posix
