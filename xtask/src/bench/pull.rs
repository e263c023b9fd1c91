//! Fetching and unpacking an image from a registry on loopback.

use super::agent::Agent;
use super::harness::Harness;
use super::report::Table;
use super::rounds::{Contender, hold, quietly, time};
use crate::env::{Archive, Registry, push_layers};
use crate::failure::Result;

const REPOSITORY: &str = "hythe-bench";
const LAYERS: u64 = 10;
const FILES: u64 = 300;
/// Bytes of one file: 30 MiB in a layer, 300 in the image.
const FILE: usize = (30 << 20) / 300;

/// One table.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let registry = Registry { address: &harness.registry, repository: REPOSITORY, authorization: None };
    if !registry.has_image() {
        push_layers(registry, &(0..LAYERS).map(layer).collect::<Vec<_>>())?;
    }
    let image = format!("{}/{REPOSITORY}:1", harness.registry);
    let agent = harness.agent(&[&harness.embedded()])?;
    Ok(vec![compare(harness, &agent, &image)?])
}

fn compare(harness: &Harness, agent: &Agent, image: &str) -> Result<Table> {
    let mut contenders = vec![Contender {
        labels: vec!["hythe pull, embedded".to_owned()],
        act: Box::new(|| Ok(vec![time(agent.command(&["pull", image]))?])),
        tidy: Box::new(|| quietly(agent.command(&["images", "remove", image]))),
    }];
    for engine in &harness.engines {
        let words = match engine.name {
            "podman" => vec!["pull", "--tls-verify=false", image],
            _ => vec!["pull", image],
        };
        contenders.push(Contender {
            labels: vec![format!("{} pull", engine.name)],
            act: Box::new(move || Ok(vec![time(engine.command(&words))?])),
            tidy: Box::new(move || quietly(engine.command(&["rmi", image]))),
        });
    }
    if let Some(containerd) = &harness.containerd {
        contenders.push(Contender {
            labels: vec!["ctr images pull".to_owned()],
            act: Box::new(|| Ok(vec![time(containerd.pull(image))?])),
            tidy: Box::new(|| containerd.forget(image)),
        });
    }
    Ok(Table {
        title: "Pull an image of 10 layers, 300 MiB".to_owned(),
        note: "From a registry on loopback, to unpacked; removing the image afterwards is not timed. Half of each file is random data, so it compresses to half.".to_owned(),
        rows: hold(&contenders, harness.runs)?,
        figures: Vec::new(),
        plot: None,
    })
}

/// Files whose first half cannot be compressed and whose second half goes away.
fn layer(number: u64) -> Vec<u8> {
    let mut archive = Archive::default();
    let directory = format!("layer{number}");
    archive.directory(&directory, 0o755, 0);
    let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for file in 0..FILES {
        let mut content = Vec::with_capacity(FILE);
        while content.len() < FILE / 2 {
            // Marsaglia's xorshift.
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            content.extend(noise.to_le_bytes());
        }
        content.resize(FILE, b'h');
        archive.file(&format!("{directory}/{file}"), 0o644, &content);
    }
    archive.finish()
}
