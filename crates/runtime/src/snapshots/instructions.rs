//! The settings of a snapshot, for engines that copy an instance's into it and take changes as instructions of a Dockerfile.

use std::collections::BTreeMap;

use super::SnapshotRequest;
use crate::ImageConfig;

/// What makes the settings of `instance`, as the engine copies them, those of `base` with the labels of the snapshot. What cannot be taken out is left without a value.
pub fn instructions(request: &SnapshotRequest, instance: &ImageConfig, base: &ImageConfig) -> Vec<String> {
    let mut all = undone("ENV", &instance.env, &base.env);
    all.extend(undone("LABEL", &instance.labels, &base.labels));
    all.extend(request.labels().iter().map(|(key, value)| pair("LABEL", key, value)));
    if instance.user != base.user {
        all.push(format!("USER {}", base.user.as_deref().unwrap_or("0")));
    }
    if instance.workdir != base.workdir {
        all.push(format!("WORKDIR {}", base.workdir.as_deref().unwrap_or("/")));
    }
    all.push(format!("ENTRYPOINT {}", serde_json::json!(base.entrypoint)));
    all.push(format!("CMD {}", serde_json::json!(base.command)));
    all
}

fn undone(word: &str, has: &BTreeMap<String, String>, base: &BTreeMap<String, String>) -> Vec<String> {
    let changed = has.iter().filter(|(key, value)| base.get(*key) != Some(value));
    changed.map(|(key, _)| pair(word, key, base.get(key).map_or("", String::as_str))).collect()
}

/// One pair of quotes is taken off, and nothing else is done to a value.
fn pair(word: &str, key: &str, value: &str) -> String {
    format!("{word} {key}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::Identity;

    #[test]
    fn nothing_of_the_instance_stays() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let base = ImageConfig {
            env: map(&[("PATH", "/bin"), ("A", "1")]),
            command: vec!["sh".to_owned()],
            labels: map(&[("team", "ops")]),
            ..ImageConfig::default()
        };
        let instance = ImageConfig {
            env: map(&[("PATH", "/x"), ("A", "1"), ("TOKEN", "secret")]),
            labels: map(&[("team", "ops"), ("hythe.owner", "me")]),
            user: Some("app".to_owned()),
            workdir: Some("/w".to_owned()),
            ..base.clone()
        };
        let identity = Identity {
            owner: "test".to_owned(),
            service: "a".to_owned(),
            component: "web".to_owned(),
            generation: 1,
            attempt: 1,
            plan_hash: "0123".to_owned(),
        };
        let request = SnapshotRequest { image: "localhost/a:1".parse().unwrap(), identity };
        let all = instructions(&request, &instance, &base);
        let ours = all.iter().filter(|line| line.starts_with("LABEL hythe.snapshot.")).count();
        assert_eq!(ours, request.labels().len());
        let rest: Vec<&String> = all.iter().filter(|line| !line.starts_with("LABEL hythe.snapshot.")).collect();
        assert_eq!(
            rest,
            [
                "ENV PATH=\"/bin\"",
                "ENV TOKEN=\"\"",
                "LABEL hythe.owner=\"\"",
                "USER 0",
                "WORKDIR /",
                "ENTRYPOINT []",
                "CMD [\"sh\"]"
            ]
        );
    }
}
