//! How the program `hythe` is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Every container has a shim, which is this program once more. A program that can be loaded anywhere has its tables of addresses (nearly a megabyte)
    // written anew in each process; loaded where it was linked for, they are pages of the file, which all share. Stack, heap and libraries stay randomised.
    let target = |key: &str| std::env::var(key).unwrap_or_default();
    if target("CARGO_CFG_TARGET_OS") == "linux" && target("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bin=hythe=-no-pie");
    }
}
