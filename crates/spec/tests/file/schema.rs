use hythe_spec::json_schema;

#[test]
fn the_schema_knows_every_key_and_what_is_required() {
    let schema = json_schema();
    assert_eq!(schema["required"], serde_json::json!(["name", "components"]));
    let component = &schema["definitions"]["ComponentFile"];
    assert_eq!(component["required"], serde_json::json!(["name", "image"]));
    assert_eq!(component["additionalProperties"], false);
    for key in ["image", "cmd", "memory_mb", "depends_on", "health", "permissions", "volumes"] {
        let description = &component["properties"][key]["description"];
        assert!(description.is_string(), "{key} is described: {}", component["properties"][key]);
    }
    assert!(schema["definitions"]["MountTable"]["properties"]["type"].is_object());
    assert!(!schema.to_string().contains("\"null\""), "TOML has no null");
}

/// The committed schema; `HYTHE_UPDATE=1` writes it anew.
#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/service.schema.json");
    let generated = json_schema();
    if std::env::var_os("HYTHE_UPDATE").is_some() {
        std::fs::write(path, format!("{generated:#}\n")).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let committed = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let committed: serde_json::Value = serde_json::from_str(&committed).unwrap_or_default();
    assert!(committed == generated, "{path} is not current: run this test with HYTHE_UPDATE=1");
}
