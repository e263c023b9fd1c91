//! What usually listens on a port.

use hythe_spec::Protocol;

const TCP: &[(&str, &[u16])] = &[
    ("_http._tcp", &[80, 3000, 5000, 8000, 8080, 8888, 9000]),
    ("_https._tcp", &[443, 8443]),
    ("_mysql._tcp", &[3306]),
    ("_postgresql._tcp", &[5432]),
    ("_redis._tcp", &[6379]),
    ("_mongodb._tcp", &[27017]),
    ("_cassandra._tcp", &[9042]),
    ("_cockroachdb._tcp", &[26257]),
    ("_mqtt._tcp", &[1883]),
    ("_amqp._tcp", &[5672]),
    ("_kafka._tcp", &[9092]),
    ("_nats._tcp", &[4222]),
    ("_prometheus._tcp", &[9090]),
    ("_loki._tcp", &[3100]),
    ("_otel-grpc._tcp", &[4317]),
    ("_otel-http._tcp", &[4318]),
    ("_elasticsearch._tcp", &[9200]),
    ("_jaeger._tcp", &[16686]),
    ("_dns._tcp", &[53]),
    ("_ssh._tcp", &[22]),
    ("_smtp._tcp", &[25, 587]),
    ("_imap._tcp", &[143, 993]),
    ("_ldap._tcp", &[389, 636]),
    ("_vnc._tcp", &[5900, 5901]),
    ("_rdp._tcp", &[3389]),
    ("_syncthing._tcp", &[8384]),
];
const UDP: &[(&str, &[u16])] =
    &[("_dns._udp", &[53]), ("_mdns._udp", &[5353]), ("_ssdp._udp", &[1900]), ("_wireguard._udp", &[51820])];

/// The DNS-SD type of what usually listens on a port inside an instance; `None` where there is no usual thing.
pub fn service_type(port: u16, protocol: Protocol) -> Option<&'static str> {
    let table = match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => return None,
    };
    table.iter().find(|(_, ports)| ports.contains(&port)).map(|(name, _)| *name)
}

/// The transport of a type `_name._tcp` or `_name._udp`; `None`: it is no such type.
pub(super) fn transport(text: &str) -> Option<Protocol> {
    let (name, transport) = text.strip_prefix('_')?.split_once("._")?;
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match transport {
        "tcp" if valid => Some(Protocol::Tcp),
        "udp" if valid => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_kept_apart() {
        assert_eq!(service_type(53, Protocol::Tcp), Some("_dns._tcp"));
        assert_eq!(service_type(53, Protocol::Udp), Some("_dns._udp"));
        assert_eq!(service_type(53, Protocol::Sctp), None);
        assert_eq!(service_type(80, Protocol::Udp), None);
        assert_eq!(service_type(12345, Protocol::Tcp), None);
    }

    #[test]
    fn the_tables_are_sound() {
        for (table, protocol, ports) in [(TCP, Protocol::Tcp, 37), (UDP, Protocol::Udp, 4)] {
            let mut all: Vec<u16> = table.iter().flat_map(|(_, ports)| ports.iter().copied()).collect();
            assert!(table.iter().all(|(name, _)| transport(name) == Some(protocol)));
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), ports, "a port twice, or none");
        }
    }
}
