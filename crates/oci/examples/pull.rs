//! Pulls an image into a store and prints where its layers are:
//! `cargo run --release -p hythe-oci --example pull -- 127.0.0.1:5000/app:1 /tmp/store`.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::Path;
use std::time::Instant;

use hythe_oci::{Registry, RegistryConfig, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(image), Some(root)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pull IMAGE DIRECTORY".into());
    };
    let (store, registry) = (Store::open(Path::new(&root))?, Registry::new(RegistryConfig::default())?);
    let begun = Instant::now();
    let stored = store.pull(&registry, &image.parse()?, |_| ()).await?;
    for layer in store.layers(&stored)? {
        println!("{}", layer.display());
    }
    println!("{} {:.3} s", stored.digest, begun.elapsed().as_secs_f64());
    Ok(())
}
