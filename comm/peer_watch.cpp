#include "comm/peer_watch.h"

#include <algorithm>
#include <ctime>
#include <exception>
#include <future>
#include <optional>
#include <random>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/peer_link.h"
#include "comm/sockets.h"
#include "core/error.h"

namespace gradwire {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Tcp = asio::ip::tcp;

constexpr std::size_t kHostBytes = 64;
constexpr std::size_t kContactBytes = 1024;
constexpr std::chrono::seconds kVerdictGrace(5);
// A rank that hears that another gives up may be about to do so itself, over an error that they all
// met at once: then its own error is what it should end with.
constexpr std::chrono::milliseconds kOwnErrorGrace(300);

Tensor text_tensor(Context& cx, const std::string& text, std::size_t bytes) {
  std::vector<std::int32_t> words(bytes / 4, 0);
  text.copy(reinterpret_cast<char*>(words.data()), bytes - 1);
  return Tensor::from(cx, {static_cast<std::int64_t>(words.size())}, words);
}
std::string text_at(const Tensor& t, std::size_t begin) {
  return reinterpret_cast<const char*>(t.host<std::int32_t>().data()) + begin;
}

std::vector<std::string> gather_hosts(Context& cx, Communicator& comm) {
  Tensor mine = text_tensor(cx, host_name(), kHostBytes);
  Tensor all = Tensor::zeros(cx, {mine.numel() * comm.size()}, DType::kI32);
  comm.all_gather(mine, all, cx.stream)->wait(cx.stream);
  std::vector<std::string> hosts;
  for (int r = 0; r < comm.size(); ++r)
    hosts.push_back(text_at(all, kHostBytes * static_cast<std::size_t>(r)));
  return hosts;
}

}  // namespace

// Rank 0 holds a link to every other rank, the others hold one to rank 0. Lines:
//   hello TOKEN RANK     to rank 0, first
//   welcome              from rank 0, once all ranks are there
//   bye                  either way: the end that follows is no loss
//   absent SENTENCE      instead, where not all have come in time
//   lost RANK SENTENCE   that rank is lost; rank 0 passes it on
//   quits RANK SENTENCE  that rank gives up; rank 0 passes it on
class PeerWatch::Impl {
 public:
  Impl(Context& cx, Communicator& comm, OnLost on_lost, std::chrono::milliseconds timeout)
      : rank_(comm.rank()),
        size_(comm.size()),
        silence_(timeout),
        on_lost_(std::move(on_lost)),
        links_(static_cast<std::size_t>(comm.size())) {
    if (size_ == 1) return;
    hosts_ = gather_hosts(cx, comm);
    Tensor contact = text_tensor(cx, rank_ == 0 ? listen() : "", kContactBytes);
    comm.broadcast(contact, 0, cx.stream)->wait(cx.stream);
    if (rank_ == 0) {
      accept_next();
    } else {
      connect(text_at(contact, 0));
    }
    thread_ = std::thread([this] { io_.run(); });
    await_all(timeout);
  }
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Writes `line` to all peers. From then on nothing that they do is news.
  void say_last(const std::string& line) {
    if (!thread_.joinable()) return;
    on_thread([&] {
      reported_ = leaving_ = true;
      write_to_all(line, -1);
    });
  }
  void quit(const std::string& why) { say_last(news("quits", rank_, why)); }
  int rank() const { return rank_; }

 private:
  void stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }
  // Runs `task` between two events of the thread, and waits for it.
  template <class F>
  void on_thread(F&& task) {
    std::packaged_task<void()> packaged(std::forward<F>(task));
    std::future<void> done = packaged.get_future();
    asio::post(io_, std::move(packaged));
    done.get();
  }

  // Rank 0 alone decides that somebody has stayed away, and tells the others; they give up by
  // themselves only where it does not.
  void await_all(std::chrono::milliseconds timeout) {
    std::future<std::string> start = start_.get_future();
    const std::chrono::milliseconds grace = rank_ == 0 ? 0s : kVerdictGrace;
    if (start.wait_for(timeout + grace) != std::future_status::ready) {
      on_thread([this] { fail_to_start(describe_missing()); });
    }
    const std::string problem = start.get();
    if (problem.empty()) return;
    stop();
    throw Error(ErrorKind::kComm, problem);
  }
  // Ends the wait for all ranks, once: well, or with what is wrong. Then nothing more is news: the
  // others leave as well.
  void settle(const std::string& problem) {
    if (std::exchange(settled_, true)) return;
    reported_ = !problem.empty();
    start_.set_value(problem);
  }
  void fail_to_start(const std::string& problem) {
    if (settled_) return;
    if (rank_ == 0) write_to_all("absent " + problem, -1);
    settle(problem);
  }

  void write_to_all(const std::string& line, int except) {
    for (const auto& link : links_) {
      if (link && link->peer != except) link->write(line);
    }
  }

  // What the others need to connect: "PORT TOKEN ADDRESS ADDRESS ...".
  std::string listen() {
    const bool one_host =
        std::all_of(hosts_.begin(), hosts_.end(), [&](const auto& h) { return h == hosts_[0]; });
    const auto address = one_host ? asio::ip::address_v4::loopback() : asio::ip::address_v4::any();
    acceptor_.emplace(io_, Tcp::endpoint(address, 0));
    std::random_device random;
    token_ = fmt::format("{:08x}{:08x}", random(), random());
    const std::vector<std::string> reachable =
        one_host ? std::vector<std::string>{"127.0.0.1"} : own_addresses();
    return fmt::format("{} {} {}", acceptor_->local_endpoint().port(), token_,
                       fmt::join(reachable, " "));
  }

  void add_link(Tcp::socket socket, int peer) {
    auto link = std::make_shared<PeerLink>(
        std::move(socket), silence_,
        [this](PeerLink& l, const std::string& line) { hear(l, line); },
        [this](PeerLink& l) { closed(l); });
    if (peer >= 0) adopt(peer, link);
    link->read();
  }
  void adopt(int peer, const std::shared_ptr<PeerLink>& link) {
    link->peer = peer;
    links_[static_cast<std::size_t>(peer)] = link;
  }

  void accept_next() {
    acceptor_->async_accept([this](const boost::system::error_code& error, Tcp::socket socket) {
      if (error) return;
      add_link(std::move(socket), -1);
      accept_next();
    });
  }

  void connect(const std::string& contact) {
    std::istringstream in(contact);
    unsigned short port = 0;
    std::string token, address;
    in >> port >> token;
    std::vector<std::string> addresses;
    while (in >> address)
      addresses.push_back(address);
    Tcp::socket socket(io_);
    if (!connect_to_any(socket, addresses, port)) return;
    add_link(std::move(socket), 0);
    links_[0]->write(fmt::format("hello {} {}", token, rank_));
  }

  void hear(PeerLink& link, const std::string& line) {
    std::istringstream in(line);
    std::string verb;
    in >> verb;
    if (link.peer < 0) {
      welcome(link, verb, in);
    } else if (verb == "welcome") {
      settle("");
    } else if (verb == "absent") {
      std::string problem;
      std::getline(in >> std::ws, problem);
      settle(problem);
    } else if (verb == "bye") {
      links_[static_cast<std::size_t>(link.peer)].reset();
      link.close();
    } else if (verb == "lost" || verb == "quits") {
      int rank = -1;
      std::string why;
      in >> rank >> std::ws;
      std::getline(in, why);
      report(verb, rank, why, link.peer);
    }
  }

  // Strangers are shown out.
  void welcome(PeerLink& link, const std::string& verb, std::istream& in) {
    std::string token;
    int peer = -1;
    in >> token >> peer;
    const bool known = verb == "hello" && token == token_ && peer > 0 && peer < size_ &&
                       !links_[static_cast<std::size_t>(peer)];
    if (!known) return link.close();
    adopt(peer, link.shared_from_this());
    if (++arrived_ < size_ - 1) return;
    write_to_all("welcome", -1);
    settle("");
  }

  void closed(const PeerLink& link) {
    if (link.peer < 0) return;
    const auto peer = static_cast<std::size_t>(link.peer);
    links_[peer].reset();
    const std::string why = fmt::format(
        "rank {} on host {} was lost at {:%H:%M:%S}: its connection closed without "
        "a goodbye",
        peer, hosts_[peer], fmt::localtime(std::time(nullptr)));
    if (!settled_) return fail_to_start("peer watch: " + why);
    report("lost", link.peer, why, link.peer);
  }

  static std::string news(const std::string& verb, int rank, std::string why) {
    std::replace(why.begin(), why.end(), '\n', ' ');
    return fmt::format("{} {} {}", verb, rank, why);
  }
  void report(const std::string& verb, int rank, const std::string& why, int heard_from) {
    if (std::exchange(reported_, true)) return;
    if (rank_ == 0) write_to_all(news(verb, rank, why), heard_from);
    if (verb == "lost") return on_lost_(rank, why);
    grace_.expires_after(kOwnErrorGrace);
    grace_.async_wait([this, rank, why](const boost::system::error_code& error) {
      if (!error && !leaving_) on_lost_(rank, why);
    });
  }

  std::string describe_missing() const {
    if (rank_ != 0) return "peer watch: no welcome from rank 0 on host " + hosts_[0];
    std::vector<std::string> missing;
    for (std::size_t r = 1; r < links_.size(); ++r) {
      if (!links_[r]) missing.push_back(fmt::format("{} ({})", r, hosts_[r]));
    }
    return fmt::format("peer watch: {} of {} ranks connected; missing: {}", arrived_ + 1, size_,
                       fmt::join(missing, ", "));
  }

  const int rank_;
  const int size_;
  const std::chrono::milliseconds silence_;  // of a host, after which it is lost
  const OnLost on_lost_;
  std::vector<std::string> hosts_;  // by rank
  std::string token_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{io_.get_executor()};
  std::optional<Tcp::acceptor> acceptor_;
  std::promise<std::string> start_;  // the wait for all ranks is over: well, or what is wrong
  // Of the thread, once it runs.
  std::vector<std::shared_ptr<PeerLink>> links_;  // by rank; rank 0's only, above rank 0
  int arrived_ = 0;
  bool settled_ = false;
  bool reported_ = false;
  bool leaving_ = false;  // has said its last word
  asio::steady_timer grace_{io_};
  std::thread thread_;
};

PeerWatch::PeerWatch(Context& cx, Communicator& comm, OnLost on_lost,
                     std::chrono::milliseconds timeout)
    : impl_(std::make_unique<Impl>(cx, comm, std::move(on_lost), timeout)),
      exceptions_(std::uncaught_exceptions()) {}

PeerWatch::~PeerWatch() {
  if (std::uncaught_exceptions() > exceptions_) {
    abort(fmt::format("rank {} left with an error", impl_->rank()));
  } else {
    impl_->say_last("bye");
  }
}

void PeerWatch::abort(const std::string& why) {
  impl_->quit(why);
}

}  // namespace gradwire
