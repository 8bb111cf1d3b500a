#!/bin/bash
# Routers that run FRRouting: each in a network namespace of its own, joined in a chain, OSPF and BGP between neighbours,
# vtysh behind OpenSSH on 127.0.0.1. Needs root.
#   frr.sh up DIR PREFIX COUNT PORT    router i answers on PORT+i, for the user pclab with the password in DIR/password
#   frr.sh down DIR PREFIX
#   frr.sh user DIR PREFIX             only the user
set -euo pipefail
verb=$1 dir=$2 prefix=$3
frr=/usr/lib/frr
named() { unshare --uts sh -c 'hostname "$0"; exec "$@"' "$@"; }

user() {
  id pclab >/dev/null 2>&1 || useradd --no-create-home --home-dir / --shell /bin/bash --groups frrvty pclab
  echo "pclab:$(cat "$dir/password")" | chpasswd
  mkdir -p /run/sshd
  chmod 755 "$dir"
}

up() {
  local count=$1 port=$2
  user
  ssh-keygen -q -t ed25519 -N '' -f "$dir/hostkey"
  ssh-keygen -q -t ed25519 -N '' -f "$dir/userkey"
  install -m 644 "$dir/userkey.pub" "$dir/authorized_keys"
  for i in $(seq 1 "$count"); do
    ip netns add "$prefix$i"
    ip -n "$prefix$i" link set lo up
    ip -n "$prefix$i" addr add "10.255.0.$i/32" dev lo
  done
  for i in $(seq 1 $((count - 1))); do
    j=$((i + 1))
    ip link add "r$i-eth1" netns "$prefix$i" type veth peer name "r$j-eth0" netns "$prefix$j"
    ip -n "$prefix$i" addr add "10.0.$i.1/30" dev "r$i-eth1"
    ip -n "$prefix$j" addr add "10.0.$i.2/30" dev "r$j-eth0"
    ip -n "$prefix$i" link set "r$i-eth1" up
    ip -n "$prefix$j" link set "r$j-eth0" up
  done
  for i in $(seq 1 "$count"); do
    router "$i" "$count"
    door "$i" "$((port + i))"
  done
  vty "$((port + 9))" rvty
  vty "$((port + 8))" rtcli --tcli
  bird "$((port + 7))"
}

# A daemon's own terminal, over telnet: a password, and another one for `enable`.
vty() {
  local port=$1 home=$dir/$2
  mkdir -p "$home/run"
  echo 'vty-password' > "$dir/vty-password"
  echo 'vty-enable' > "$dir/vty-enable"
  printf 'hostname vty\npassword vty-password\nenable password vty-enable\n' > "$home/ripd.conf"
  chown -R frr:frrvty "$home"
  "$frr/ripd" -d -i "$home/run/ripd.pid" --vty_socket "$home/run" -z "$home/run/zserv.api" -A 127.0.0.1 -P "$port" \
    -f "$home/ripd.conf" "${@:3}" 2>> "$home/start.log"
}

# BIRD, without a hand on the kernel's routes, and its terminal behind OpenSSH.
bird() {
  local port=$1 home=$dir/rbird
  mkdir -p "$home/run"
  cat > "$home/bird.conf" <<C
router id 10.255.0.9;
protocol device { }
protocol static {
  ipv4;
  route 203.0.113.0/24 blackhole;
  route 198.51.100.0/24 via "lo";
  route 0.0.0.0/0 via "lo";
}
C
  /usr/sbin/bird -c "$home/bird.conf" -s "$home/run/bird.ctl" -P "$home/run/bird.pid"
  chmod 666 "$home/run/bird.ctl"
  printf '#!/bin/sh\nexec /usr/sbin/birdc -s %s/run/bird.ctl $SSH_ORIGINAL_COMMAND\n' "$home" > "$home/shell"
  chmod 755 "$home/shell"
  sshd "$home" "$port"
  /usr/sbin/sshd -f "$home/sshd.conf" -E "$home/sshd.log"
}

router() {
  local i=$1 count=$2 home=$dir/r$1
  mkdir -p "$home/etc" "$home/run"
  config "$i" "$count" > "$home/etc/frr.conf"
  echo 'service integrated-vtysh-config' > "$home/etc/vtysh.conf"
  chown -R frr:frrvty "$home"
  for daemon in zebra staticd ospfd bgpd; do
    named "r$i" ip netns exec "$prefix$i" "$frr/$daemon" -d -i "$home/run/$daemon.pid" --vty_socket "$home/run" \
      -z "$home/run/zserv.api" -A 127.0.0.1 -f "$home/etc/none.conf" 2>> "$home/start.log"
  done
  named "r$i" vtysh --vty_socket "$home/run" --config_dir "$home/etc" -b >> "$home/start.log" 2>&1
}

config() {
  local i=$1 count=$2
  cat <<C
hostname r$i
service integrated-vtysh-config
password zebra-$i-vty
enable password enable-$i-vty
interface lo
 description loopback of r$i
!
ip route 192.0.2.$i/32 blackhole
interface r$i-eth0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf network point-to-point
interface r$i-eth1
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf network point-to-point
router ospf
 ospf router-id 10.255.0.$i
 redistribute static
 network 10.0.0.0/8 area 0
 timers throttle spf 10 50 100
router bgp 6500$i
 bgp router-id 10.255.0.$i
 no bgp ebgp-requires-policy
 no bgp network import-check
C
  for j in $((i - 1)) $((i + 1)); do
    [ "$j" -ge 1 ] && [ "$j" -le "$count" ] || continue
    peer=$([ "$j" -lt "$i" ] && echo "10.0.$j.1" || echo "10.0.$i.2")
    echo " neighbor $peer remote-as 6500$j"
    echo " neighbor $peer timers connect 1"
  done
  printf ' address-family ipv4 unicast\n  network 198.51.100.%s/32\n exit-address-family\n' "$i"
}

door() {
  local i=$1 port=$2 home=$dir/r$1
  printf '#!/bin/sh\nexec /usr/bin/vtysh --vty_socket %s/run --config_dir %s/etc ${SSH_ORIGINAL_COMMAND:+-c "$SSH_ORIGINAL_COMMAND"}\n' \
    "$home" "$home" > "$home/shell"
  chmod 755 "$home/shell"
  sshd "$home" "$port"
  named "r$i" /usr/sbin/sshd -f "$home/sshd.conf" -E "$home/sshd.log"
}

# The configuration of a server that runs DIR/shell.
sshd() {
  local home=$1 port=$2
  cat > "$home/sshd.conf" <<C
Port $port
ListenAddress 127.0.0.1
HostKey $dir/hostkey
PidFile $home/sshd.pid
UsePAM no
PasswordAuthentication yes
AllowUsers pclab
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
PrintMotd no
LogLevel VERBOSE
MaxStartups 200
ForceCommand $home/shell
C
}

down() {
  for pid in "$dir"/r*/sshd.pid "$dir"/r*/run/*.pid; do
    [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
  done
  for ns in $(ip netns list | awk '{print $1}' | grep "^$prefix[0-9]" || true); do ip netns del "$ns"; done
}

shift 3
"$verb" "$@"
