# Shell functions that the parts of tests/interop and tests/full share. Sourced, never run.

# Where installed clients live between runs.
interop_cache() {
  local dir="${XDG_CACHE_HOME:-$HOME/.cache}/tidelog-interop"
  mkdir -p "$dir"
  echo "$dir"
}

# only_one DIR: what makes DIR waits until nobody else does. For functions that run in a shell of their own, with which the lock ends.
only_one() {
  exec 9>"$1.lock"
  flock 9
}

# The server's binary: TIDELOG_BIN, or what `cargo build` made last.
tidelog_bin() {
  local root="$1"
  local bin="${TIDELOG_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/tidelog}"
  if [[ ! -x "$bin" ]]; then
    echo "no binary at $bin; build it with \`cargo build --bin tidelog\` or set TIDELOG_BIN" >&2
    return 1
  fi
  realpath "$bin"
}

# start_tidelog DIR [OPTION...]: starts a server on free ports and waits until it accepts. Sets TIDELOG_PID, TIDELOG_KAFKA,
# TIDELOG_HTTP. Its log is DIR.log.
start_tidelog() {
  local dir="$1"; shift
  mkdir -p "$dir"
  rm -f "$dir/endpoints.json"
  "$BIN" serve --data-dir "$dir" --kafka-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 "$@" >"$dir.out" 2>>"$dir.log" </dev/null &
  TIDELOG_PID=$!
  local deadline=$((SECONDS + 150))
  until [[ -s "$dir/endpoints.json" ]]; do
    if ! kill -0 "$TIDELOG_PID" 2>/dev/null; then
      echo "tidelog serve ended before it was ready:" >&2
      tail -n 20 "$dir.log" >&2
      return 1
    fi
    if ((SECONDS > deadline)); then
      echo "tidelog serve was not ready within 150 s:" >&2
      tail -n 20 "$dir.log" >&2
      return 1
    fi
    sleep 0.05
  done
  TIDELOG_KAFKA=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["kafka"])' "$dir/endpoints.json")
  TIDELOG_HTTP=$(python3 -c 'import json,sys; print("http://" + json.load(open(sys.argv[1]))["http"])' "$dir/endpoints.json")
  export TIDELOG_PID TIDELOG_KAFKA TIDELOG_HTTP
}

# stop_tidelog: asks the server to end; true if it ended with status 0 within 90 s.
stop_tidelog() {
  local pid="${TIDELOG_PID:-}"
  TIDELOG_PID=
  [[ -n "$pid" ]] || return 0
  kill -TERM "$pid" 2>/dev/null || { echo "the server had ended already" >&2; return 1; }
  local deadline=$((SECONDS + 90))
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS > deadline)); then
      echo "the server did not end within 90 s of SIGTERM" >&2
      kill -KILL "$pid"
      return 1
    fi
    sleep 0.05
  done
  wait "$pid"
}

# python_env NAME REQUIREMENTS: a virtual environment with exactly these packages, made once per content of the file.
# Prints its python.
python_env() {
  local name="$1" requirements="$2"
  local sum dir
  sum=$(sha256sum "$requirements" | cut -c1-16)
  dir="$(interop_cache)/python-$name-$sum"
  only_one "$dir"
  if [[ ! -e "$dir/ready" ]]; then
    rm -rf "$dir"
    python3 -m venv "$dir" >&2
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements" >&2
    touch "$dir/ready"
  fi
  echo "$dir/bin/python"
}

# node_env NAME FOLDER: the packages of FOLDER/package-lock.json, installed once per content. Prints the folder that holds
# node_modules.
node_env() {
  local name="$1" folder="$2"
  local sum dir
  sum=$(sha256sum "$folder/package-lock.json" | cut -c1-16)
  dir="$(interop_cache)/node-$name-$sum"
  only_one "$dir"
  if [[ ! -e "$dir/ready" ]]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$folder/package.json" "$folder/package-lock.json" "$dir/"
    (cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2)
    touch "$dir/ready"
  fi
  echo "$dir"
}

# java_env FOLDER [SOURCE...]: the artifacts of FOLDER/pom.xml, which must be those of FOLDER/lib.sha256, and the compiled classes of
# FOLDER/src and of the other sources; each made once per content. Prints the class path.
java_env() {
  local folder="$1"; shift
  local sources=("$folder"/src/*.java "$@")
  local sum lib classes
  sum=$(cat "$folder/pom.xml" "$folder/lib.sha256" | sha256sum | cut -c1-16)
  lib="$(interop_cache)/java-lib-$sum"
  only_one "$lib"
  if [[ ! -e "$lib/ready" ]]; then
    rm -rf "$lib"
    mkdir -p "$lib"
    cp "$folder/pom.xml" "$lib/"
    (cd "$lib" && mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies -DoutputDirectory=lib >&2)
    (cd "$lib/lib" && export LC_ALL=C && sha256sum -- * | diff "$folder/lib.sha256" - >&2)
    touch "$lib/ready"
  fi
  sum=$(echo "$lib" | cat - "${sources[@]}" | sha256sum | cut -c1-16)
  classes="$(interop_cache)/java-classes-$sum"
  only_one "$classes"
  if [[ ! -e "$classes/ready" ]]; then
    rm -rf "$classes"
    javac --release 17 -Xlint:all -Werror -cp "$lib/lib/*" -d "$classes" "${sources[@]}" >&2
    touch "$classes/ready"
  fi
  echo "$classes:$lib/lib/*"
}

# go_env FOLDER: the program of FOLDER with exactly the modules of its go.sum, built once per content. Prints the folder that holds
# `check`.
go_env() {
  local folder="$1"
  local sum dir
  sum=$(cat "$folder"/go.mod "$folder"/go.sum "$folder"/*.go | sha256sum | cut -c1-16)
  dir="$(interop_cache)/go-$sum"
  only_one "$dir"
  if [[ ! -e "$dir/ready" ]]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$folder" && GOFLAGS=-mod=readonly go build -o "$dir/check" . >&2)
    touch "$dir/ready"
  fi
  echo "$dir"
}

# c_env FOLDER: the C program of FOLDER with the library of the module in its go.mod, built once per content. Prints the folder that holds
# `check`.
c_env() {
  local folder="$1"
  local sum dir vendor
  sum=$(cat "$folder"/go.mod "$folder"/go.sum "$folder"/*.[ch] | sha256sum | cut -c1-16)
  dir="$(interop_cache)/c-$sum"
  only_one "$dir"
  if [[ ! -e "$dir/ready" ]]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    vendor=$(cd "$folder" && GOFLAGS=-mod=readonly go mod download -json | python3 -c 'import json,sys; print(json.load(sys.stdin)["Dir"])')/kafka/librdkafka_vendor
    local arch=amd64
    [[ "$(uname -m)" != aarch64 ]] || arch=arm64
    cc -std=c11 -D_DEFAULT_SOURCE -O1 -g -Wall -Wextra -Werror -isystem "$vendor" "$folder"/*.c "$vendor/librdkafka_glibc_linux_$arch.a" \
      -lm -ldl -lpthread -lrt -o "$dir/check" >&2
    touch "$dir/ready"
  fi
  echo "$dir"
}

# prometheus_bin: prints the path of Prometheus, with promtool beside it: the installed one, or Debian's package, unpacked and not installed.
prometheus_bin() {
  command -v prometheus && return 0
  local dir
  dir="$(interop_cache)/prometheus"
  only_one "$dir"
  if [[ ! -e "$dir/ready" ]]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && { apt-get download --quiet prometheus || { apt-get update --quiet && apt-get download --quiet prometheus; }; } >&2)
    dpkg-deb -x "$dir"/prometheus_*.deb "$dir"
    touch "$dir/ready"
  fi
  echo "$dir/usr/bin/prometheus"
}
