#!/usr/bin/env bash
# Real programs under the interception, clean and over a lossy link; as a user without privilege.
# timeout: 600
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=${TMPDIR:-$(mktemp -d)}
chmod 777 "$work"
user=()
if [ "$(id -u)" = 0 ]; then user=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
export HOME=$work TMPDIR=$work PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd "$work" || exit 1
lossy='--net=delay=5ms loss=1%'
options=()
passed=0 failed=0 skipped=0
only=${1:-}

# run WORDS...: under the interception with the options of the round.
run() { "${user[@]}" timeout 60 "$TIDEWIRE" run --quiet "${options[@]}" -- "$@"; }

check() { # name command...
  local name=$1
  shift
  if [ -n "$only" ] && [[ $name != *$only* ]]; then return; fi
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $name (${options[*]:-})"
    tail -5 "$work/log" | cut -c1-300
  fi
}

needs() { # program...: counts a skip if one is missing
  local p
  for p in "$@"; do
    command -v "$p" >/dev/null && continue
    skipped=$((skipped + 1))
    echo "skipped: $p is not installed"
    return 1
  done
}

wait_for() { # host port
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    sleep 0.05
  done
  return 1
}

port=$((20000 + $$ % 10000))
free_port() { port=$((port + 1)); }

head -c 2000000 /dev/urandom >blob && chmod 644 blob
sum=$(sha256sum <blob | cut -d' ' -f1)
is_blob() { [ "$(sha256sum | cut -d' ' -f1)" = "$sum" ]; }

http_port=$((port + 5000))
python3 -m http.server --bind 127.0.0.1 "$http_port" >/dev/null 2>&1 &
server=$!
trap 'kill $server 2>/dev/null' EXIT
wait_for "$http_port" || { echo "no web server"; exit 1; }
url=http://127.0.0.1:$http_port/blob

with_curl() { run curl -sS --max-time 50 "$url" | is_blob; }
with_wget() { run wget -q -O - "$url" | is_blob; }
with_busybox() { run busybox wget -q -O - "$url" | is_blob; }
with_node() {
  run node -e "require('http').get('$url', r => r.pipe(process.stdout))" | is_blob
}
with_python() {
  run python3 -c "import urllib.request,sys; sys.stdout.buffer.write(urllib.request.urlopen('$url').read())" | is_blob
}
localhost_falls_back() { run curl -sS --max-time 20 "http://localhost:$http_port/blob" | is_blob; }
refused() { ! run curl -sS --max-time 5 http://127.0.0.1:9/ 2>out && grep -q 'Failed to connect' out; }
python_server() {
  run sh -c "python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 & s=\$!
    for i in \$(seq 100); do curl -s -o /dev/null http://127.0.0.1:8000/ && break; sleep 0.05; done
    curl -sS http://127.0.0.1:8000/blob; kill \$s" | is_blob
}
nc_in_one_run() {
  run sh -c "nc -l 6666 >got & s=\$!; sleep 0.4; nc -N 127.0.0.1 6666 <blob; wait \$s; cat got" | is_blob
}
nc_udp() {
  [ "$(run sh -c "nc -u -l 6667 -W 1 >got & s=\$!; sleep 0.4; echo hello | nc -u -w 1 127.0.0.1 6667; wait \$s; cat got")" = hello ]
}
published() {
  free_port
  options+=("--publish=127.0.0.1:$port:8001")
  run python3 -m http.server 8001 >/dev/null 2>&1 &
  local job=$!
  unset 'options[-1]'
  curl -sS --retry 40 --retry-delay 0 --retry-all-errors --retry-max-time 20 --max-time 40 "http://127.0.0.1:$port/blob" | is_blob
  local status=$?
  kill $job 2>/dev/null
  wait $job 2>/dev/null
  return $status
}
redis() {
  run sh -c "redis-server --port 7000 --save '' --bind 127.0.0.1 >/dev/null & s=\$!; sleep 0.7
    redis-cli -p 7000 set key value && redis-cli -p 7000 get key
    redis-benchmark -p 7000 -n 2000 -c 20 -t get,set,lpush -q; kill \$s; wait \$s" >out && grep -q '^value' out && grep -q LPUSH out
}
iperf() {
  run sh -c "iperf3 -s -p 5201 -1 >/dev/null & sleep 0.5; iperf3 -c 127.0.0.1 -p 5201 -t 1 $*" >out && grep -q receiver out
}
nginx_config() {
  cat >nginx.conf <<END
daemon off; worker_processes 2; pid $work/nginx.pid; error_log stderr warn;
events { worker_connections 256; }
http { access_log off; sendfile on; tcp_nopush on; client_body_temp_path $work/t1;
 proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
 server { listen 127.0.0.1:8080; root $work; location /back/ { proxy_pass http://127.0.0.1:8081/; } }
 server { listen 127.0.0.1:8081; root $work; } }
END
}
nginx_workers() {
  nginx_config
  run sh -c "/usr/sbin/nginx -c $work/nginx.conf & s=\$!; sleep 0.7
    for i in 1 2 3 4 5 6; do curl -sS http://127.0.0.1:8080/blob | sha256sum; curl -sS http://127.0.0.1:8080/back/blob | sha256sum; done
    kill -QUIT \$s; wait \$s" >out
  [ "$(grep -c "$sum" out)" = 12 ]
}
bind_in_use() {
  run sh -c "python3 -m http.server 8002 >/dev/null 2>&1 & s=\$!; sleep 0.6
    python3 -m http.server 8002 2>&1 | grep -o 'Address already in use' | head -1; kill \$s" | grep -q 'already in use'
}
static_go() {
  [ -x "$work/gofetch" ] || return 0
  run "$work/gofetch" "$url" | is_blob
}
ten_at_once() {
  run sh -c "for i in 1 2 3 4 5 6 7 8 9 10; do curl -sS --max-time 50 '$url' | sha256sum & done; wait" >out
  [ "$(grep -c "$sum" out)" = 10 ]
}
exit_codes() {
  run true && ! run false && { run sh -c 'exit 7'; [ $? = 7 ]; } && { run sh -c 'kill -9 $$'; [ $? = 137 ]; } &&
    { run no-such-program; [ $? = 127 ]; } && { run /etc/passwd; [ $? = 126 ]; }
}
signals_passed() {
  "${user[@]}" "$TIDEWIRE" run --quiet "${options[@]}" -- \
    sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.1; done' >out &
  local job=$!
  for _ in $(seq 50); do grep -q up out && break; sleep 0.1; done
  kill -TERM "$job"
  wait "$job"
  [ $? = 9 ]
}
nothing_left() {
  run sh -c 'sleep 321 & sleep 321 & exit 3'
  [ $? = 3 ] && sleep 0.3 && ! pgrep -f 'sleep 321' >/dev/null
}
killed_run_takes_all() {
  "${user[@]}" "$TIDEWIRE" run --quiet "${options[@]}" -- sh -c 'sleep 654 & sleep 654' &
  local job=$!
  sleep 0.7
  pgrep -f 'sleep 654' >/dev/null || return 1
  kill -KILL "$job"
  wait "$job" 2>/dev/null
  sleep 0.5
  ! pgrep -f 'sleep 654' >/dev/null
}

go_program() {
  command -v go >/dev/null || return 0
  mkdir -p gosrc && cat >gosrc/main.go <<'END'
package main

import ("io"; "net/http"; "os")

func main() {
	r, err := http.Get(os.Args[1])
	if err != nil { panic(err) }
	io.Copy(os.Stdout, r.Body)
}
END
  (cd gosrc && GO111MODULE=off CGO_ENABLED=0 GOCACHE="$work/gocache" go build -o ../gofetch main.go) >/dev/null 2>&1
  chmod 755 gofetch
}

round() {
  check curl with_curl
  needs wget && check wget with_wget
  needs busybox && check busybox with_busybox
  needs node && check node with_node
  check python with_python
  check localhost localhost_falls_back
  check refused refused
  check python_server python_server
  needs nc && check nc nc_in_one_run
  needs nc && check nc_udp nc_udp
  [[ ${options[*]:-} = *kernel* ]] || check published published
  needs redis-server && check redis redis
  needs iperf3 && { check iperf iperf; check iperf_reverse iperf -R; check iperf_udp iperf -u -b 20M; check iperf_parallel iperf -P 4; }
  [ -x /usr/sbin/nginx ] && check nginx nginx_workers
  check bind_in_use bind_in_use
  check static_go static_go
  check ten_at_once ten_at_once
  check exit_codes exit_codes
  check signals_passed signals_passed
  check nothing_left nothing_left
  check killed_run_takes_all killed_run_takes_all
}

go_program
for set in ${POSIX_ROUNDS:-kernel clean lossy}; do
  case $set in
    kernel) options=(--backend=kernel) ;;
    clean) options=() ;;
    lossy) options=("$lossy") ;;
  esac
  round
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
