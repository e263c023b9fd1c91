use hythe_spec::{ParseError, Port};
use serde_json::Value;

use crate::support::{Difference, check, rows, text};

const DIFFERENCES: &[Difference] = &[
    Difference { reason: "Port 0 is not a container port", inputs: &["0"] },
    Difference { reason: "A host range for one container port is refused", inputs: &["80-90:8080"] },
    Difference {
        reason: "An IPv6 address stands in brackets",
        inputs: &["2001:4860:0:2001::68::333", "::1:80:80", "::::80"],
    },
];

fn ours(spec: &str) -> Result<Vec<String>, String> {
    let ports = Port::parse_spec(spec).map_err(|error: ParseError| error.to_string())?;
    let mut ports: Vec<String> = ports
        .into_iter()
        .map(|port| {
            let ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            let host = port.host_port.map(|port| port.to_string()).unwrap_or_default();
            format!("{ip}|{host}|{}/{}", port.container_port, port.protocol)
        })
        .collect();
    ports.sort();
    Ok(ports)
}

/// Docker's answer; Compose's is the same wherever it accepts.
fn theirs(answer: &Value) -> Result<Vec<String>, String> {
    let Some(ports) = answer["ok"].as_array() else {
        return Err(text(&answer["err"]));
    };
    let mut ports: Vec<String> = ports
        .iter()
        .map(|port| {
            let binding = &port["Binding"];
            format!(
                "{}|{}|{}",
                text(&binding["HostIp"]).to_lowercase(),
                text(&binding["HostPort"]),
                text(&port["Port"])
            )
        })
        .collect();
    ports.sort();
    Ok(ports)
}

#[test]
fn port_specifications_are_read_as_docker_reads_them() {
    let rows = rows("port_specs").into_iter().map(|row| {
        let spec = text(&row["spec"]);
        let ours = ours(&spec);
        (spec, ours, theirs(&row["docker_go_connections"]))
    });
    check(rows, DIFFERENCES);
}

#[test]
fn where_docker_compose_and_podman_agree_we_agree() {
    for row in rows("port_specs").iter().filter(|row| row["agree_accept"] == true) {
        let spec = text(&row["spec"]);
        assert_eq!(ours(&spec).is_ok(), row["podman"]["ok"].is_array(), "{spec:?}");
    }
}
