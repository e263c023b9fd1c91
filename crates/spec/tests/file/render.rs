//! What is written as a file reads back as the same service.

use hythe_spec::render;

use crate::support::{good, memory};

#[track_caller]
fn reads_back(text: &str) -> String {
    let files = memory([("/srv/seccomp.json", "{}")]);
    let parsed = good(text, &files);
    let written = render(&parsed.service, &parsed.builds);
    let again = good(&written, &files);
    assert_eq!((&again.service, &again.builds), (&parsed.service, &parsed.builds), "{written}");
    written
}

#[test]
fn a_small_service_is_written_without_what_defaults_say() {
    let written = reads_back("name = 'shop'\n[[components]]\nname = 'web'\nimage = 'busybox:1'\n");
    assert_eq!(written, "name = \"shop\"\n\n[[components]]\nname = \"web\"\nimage = \"docker.io/library/busybox:1\"\n");
}

#[test]
fn every_key_reads_back() {
    reads_back(
        r#"
name = "shop"
active = false
drift = "heal"
labels = { "a.b" = "1", plain = "two words" }
[build.images]
"localhost/web:1" = { context = "web", dockerfile = "Containerfile" }
[[components]]
name = "web"
runtime = "docker"
image = "localhost/web:1"
entrypoint = []
command = ["sh", "-c", '''echo "one" 'two' \ $three
next line''']
env = { QUOTED = "a\"b'c\\d", LINES = "1\n2\t3", EMPTY = "", "odd.name" = "ü", NUMBER = 7 }
ports = ["127.0.0.1:8080:80", "[::1]:53:53/udp", "9000", "7000-7002:7000-7002"]
volumes = [
    "data:/data",
    "/srv:/srv:ro,rshared,Z",
    { type = "volume", source = "theirs", target = "/theirs", external = true, read_only = true },
    { type = "tmpfs", target = "/a:b", size = "1m", mode = "0700", uid = 1, gid = 2, nr_inodes = 9, exec = true },
    { type = "tmpfs", target = "/a,b", size = "5%", suid = true, dev = true, read_only = true },
    { type = "tmpfs", target = "/a:ro" },
]
tmpfs = ["/t:size=64m,mode=0700", "/u:ro", "/v", "/w:size=5%,uid=7,nr_inodes=9,exec"]
user = "1000:app"
workdir = "/srv"
hostname = "www.example.com"
network = ["one", "two"]
dns = ["10.0.0.1", "fd00::1"]
extra_hosts = ["db:10.0.0.5", "gate:host-gateway"]
dns_search = ["example.com", "b.example."]
dns_options = ["ndots:2", "rotate"]
group_add = ["video", 1001]
sysctls = { "net.core.somaxconn" = 1024, "kernel.sem" = "250 32000 32 128" }
devices = ["/dev/kvm", "/dev/sda:/dev/disk:r", "vendor.com/class=one"]
logs = { max_size = "10m", max_files = 3 }
platform = "linux/arm/v7"
restart = "on-failure:3"
stop_signal = "USR1"
stop_grace = "1m500ms"
memory = "64m"
cpus = 0.25
pids = 100
shm_size = "1m"
ulimits = { nofile = "100:200", core = -1 }
read_only = true
init = true
tty = true
stdin = true
labels = { c = "d" }
depends_on = { db = { condition = "healthy", restart = true }, job = "completed" }
pull_policy = "always"
on_config_change = "signal:SIGUSR1"
health = { http = ":8080/up", interval = "1s", timeout = "200ms", retries = 7, start_period = "3s", on_failure = "restart" }
permissions = { profile = "standard", no_new_privileges = false, cap_add = ["NET_RAW"], cap_drop = ["KILL"], seccomp = "/srv/seccomp.json" }
[[components]]
name = "db"
image = "db:1"
command = []
network = "host"
health = { tcp = 5432 }
permissions = { network = { outbound = { insecure_allow_all = true } } }
[[components]]
name = "job"
image = "job:1"
restart = "no"
network = "none"
health = { exec = ["true", "a b"], start_interval = "1s" }
permissions = "standard"
[[components]]
name = "caged"
image = "caged:1"
permissions = { name = "mine", read = ["/etc/x:/x", "volume://v:/y"], write = ["/tmp/z"], privileged = true, seccomp = "unconfined", network = { outbound = { allow_host = [".example.com"], allow_port = [443] }, inbound = { allow_host = ["localhost"] } } }
[[components]]
name = "nothing"
image = "nothing:1"
permissions = "none"
[[components]]
name = "unprobed"
image = "x:1"
health = "none"
[[components]]
name = "served"
image = "x:1"
health = { grpc = { port = 9000, service = "shop.Cart" } }
[[components]]
name = "secured"
image = "x:1"
[components.health]
http = { port = 8443, tls = "insecure", server_name = "a.b", headers = { X = "y" }, status = [200, "300-399"], body = "ok" }
[[components]]
name = "netted"
image = "netted:1"
permissions = "network"
"#,
    );
}
