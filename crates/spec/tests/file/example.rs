use std::path::Path;

use hythe_spec::{Condition, MountSource, parse};

use crate::support::{Memory, good};

#[test]
fn the_example_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/shop.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parsed = good(&text, &Memory::default());
    assert_eq!(parsed.warnings, []);
    let [db, app, front] = parsed.service.components.as_slice() else { panic!("three components") };
    assert!(db.health.is_some());
    assert!(matches!(&db.mounts[0].source, MountSource::Volume { name, external: false } if name == "data"));
    assert_eq!(app.depends_on["db"], Condition::Healthy.into());
    assert_eq!(front.ports[0].to_string(), "127.0.0.1:8080:80/tcp");
}

#[test]
fn a_service_survives_the_wire() {
    let text = include_str!("../../../../docs/examples/shop.toml");
    let Ok(parsed) = parse("shop.toml", text, &Memory::default()) else { panic!("valid") };
    let json = serde_json::to_string(&parsed.service).unwrap_or_default();
    let back: hythe_spec::Service = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(back, parsed.service);
    assert_eq!(back.validate(), []);
}
