//! What holds for every input: what is written reads back, and no text makes a parser panic.

use std::fmt::{Debug, Display};
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use hythe_spec::{
    ByteSize, ExtraHost, Files, HostAddress, ImageRef, Millicores, Millis, Mount, MountSource, Network, ParseError,
    Paths, Port, Protocol, Restart, Signal, TmpfsOptions, Ulimit, env_file, parse,
};
use proptest::prelude::*;

const PATHS: Paths<'_> = Paths { base: "/base", home: None };

struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn base_dir(&self) -> &str {
        "/base"
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn home(&self) -> Option<String> {
        None
    }
}

fn reads_back<T: FromStr<Err = ParseError> + Display + PartialEq + Debug>(value: &T) {
    let text = value.to_string();
    assert_eq!(text.parse::<T>().as_ref(), Ok(value), "{text}");
}

fn mount() -> impl Strategy<Value = Mount> {
    let path = "/[a-zA-Z0-9 ,\"=:_.-]{1,12}[a-z]";
    let volume = "[a-z][a-zA-Z0-9_.-]{0,8}".prop_map(|name| MountSource::Volume { name, external: false });
    let bind = (path, proptest::option::of(Just("rshared".to_owned())))
        .prop_map(|(path, propagation)| MountSource::Bind { path, propagation, selinux: None });
    let size = proptest::option::of((1u64..1 << 40).prop_map(ByteSize));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (proptest::option::of(0u32..u32::MAX), proptest::option::of(1u64..1 << 40));
    let options =
        (proptest::option::of(1u8..=100), numbers, flags).prop_map(|(percent, (uid, inodes), (exec, suid, dev))| {
            TmpfsOptions { percent, uid, gid: uid, inodes, exec, suid, dev }
        });
    let mode = proptest::option::of(0u32..0o10000);
    let tmpfs = (size, mode, options).prop_map(|(size, mode, options)| {
        let size = size.filter(|_| options.percent.is_none());
        MountSource::Tmpfs { size, mode, options }
    });
    (path, prop_oneof![volume, bind, tmpfs], any::<bool>()).prop_map(|(target, source, read_only)| Mount {
        target,
        source,
        read_only,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantities_read_back(number in 0..i64::MAX as u64, small in 0u64..100_000) {
        reads_back(&ByteSize(number));
        reads_back(&ByteSize(small << 20));
        reads_back(&Millicores(number));
        reads_back(&Millis(number));
        reads_back(&Millis(small));
    }

    #[test]
    fn signals_and_policies_read_back(number in 1u8..=64, retries in proptest::option::of(1u32..)) {
        reads_back(&Signal(number));
        for policy in [Restart::No, Restart::Always, Restart::UnlessStopped, Restart::OnFailure { max_retries: retries }] {
            reads_back(&policy);
        }
    }

    #[test]
    fn ports_read_back(host_ip: Option<IpAddr>, host_port in proptest::option::of(1u16..), container_port in 1u16.., kind in 0..3) {
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][kind as usize];
        reads_back(&Port { host_ip, host_port, container_port, protocol });
    }

    #[test]
    fn networks_and_hosts_read_back(names in proptest::collection::btree_set("x[a-z0-9_.-]{0,9}", 1..4), address: IpAddr) {
        for network in [Network::Service, Network::None, Network::Host] {
            reads_back(&network);
        }
        let names: Vec<String> = names.into_iter().collect();
        reads_back(&ExtraHost { name: names[0].clone(), address: HostAddress::Ip(address) });
        reads_back(&ExtraHost { name: names[0].clone(), address: HostAddress::HostGateway });
        reads_back(&Network::Named { names });
    }

    #[test]
    fn mounts_read_back(mount in mount()) {
        let text = mount.to_string();
        prop_assert_eq!(Mount::parse_long(&text, &PATHS), Ok(mount), "{}", text);
    }

    #[test]
    fn images_read_back(text in "([a-z]{1,5}(\\.[a-z]{1,3})?(:[0-9]{1,4})?/)?[a-z0-9]{1,5}([._-][a-z0-9]{1,4})?(:[A-Za-z0-9_.-]{1,6})?") {
        if let Ok(image) = text.parse::<ImageRef>() {
            reads_back(&image);
        }
    }

    #[test]
    fn no_text_makes_a_string_parser_panic(text in prop_oneof![any::<String>(), "[0-9a-zA-Z:/.,=\\[\\]{}$\"'+ -]{0,24}", "[$\\\\{}\"'=#\na0-]{0,24}"]) {
        let _ = text.parse::<ByteSize>();
        let _ = text.parse::<Millicores>();
        let _ = text.parse::<Millis>();
        let _ = text.parse::<Signal>();
        let _ = text.parse::<Restart>();
        let _ = text.parse::<Network>();
        let _ = text.parse::<ExtraHost>();
        let _ = text.parse::<ImageRef>();
        let _ = Port::parse_spec(&text);
        let _ = Ulimit::parse("nofile", &text);
        let _ = Mount::parse_short(&text, &PATHS);
        let _ = Mount::parse_long(&text, &PATHS);
        let _ = Mount::parse_tmpfs(&text);
        let _ = env_file::dotenv(&text, &|_| None);
        let _ = env_file::plain(&text, &|_| None);
    }

    #[test]
    fn no_text_makes_the_file_parser_panic(
        text in prop_oneof![any::<String>(), "[a-z\\[\\]{}=\"'0-9.,\n# -]{0,80}"],
        key in "(image|ports|volumes|env|env_file|health|permissions|depends_on|ulimits|network|memory|command|tmpfs|labels)",
        value in "(1|-1|0.5|true|''|'a:b'|'ü\\u00e9\\$'|\\[\\]|\\['x', 1\\]|\\{ a = 'b' \\}|\\{ http = 1 \\}|1979-05-27|\\[\\{\\}\\])",
    ) {
        for text in [text, format!("name = 'x'\n[[components]]\nname = 'y'\n{key} = {value}\n")] {
            if let Err(error) = parse("x.toml", &text, &Nothing) {
                prop_assert!(error.errors() > 0);
                let _ = error.render(true);
            }
        }
    }
}
