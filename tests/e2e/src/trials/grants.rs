//! What a file grants beyond the image: groups, kernel parameters, devices, words of the resolver.

use std::path::Path;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;

trials!("grants":
    what_is_granted_is_there_and_is_no_difference Real,
);

fn what_is_granted_is_there_and_is_no_difference(fixture: &mut Fixture<'_>) {
    let device = ["/dev/fuse", "/dev/net/tun", "/dev/kvm"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    let text = one(
        &fixture.service,
        &stays("up"),
        &format!(
            "user = '1000:1000'\ngroup_add = [1001, 'root']\nsysctls = {{ 'net.ipv4.tcp_fin_timeout' = 17 }}\n\
             devices = ['{device}']\ndns_search = ['a.example']\ndns_options = ['ndots:2']"
        ),
    );
    fixture.deploy(&text).ok();
    let service = fixture.service.clone();
    let inside = |command: &str| fixture.hythe(&["exec", &service, "sh", "-c", command]).ok().out;
    let groups = inside("id -G");
    let groups: Vec<&str> = groups.split_whitespace().collect();
    assert!(["0", "1000", "1001"].iter().all(|group| groups.contains(group)), "{groups:?}");
    assert_eq!(inside("cat /proc/sys/net/ipv4/tcp_fin_timeout"), "17\n");
    assert_eq!(inside(&format!("test -c {device} && echo device")), "device\n");
    let resolver = inside("cat /etc/resolv.conf");
    assert!(resolver.contains("search a.example\n") && resolver.contains("ndots:2"), "{resolver}");
    assert_eq!(fixture.differences(), Vec::<serde_json::Value>::new());
    fixture.deploy(&text).ok().says(&["nothing changed"]);
}
