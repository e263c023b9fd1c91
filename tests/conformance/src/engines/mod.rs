//! The real engines.

mod containerd;
mod docker;
mod embedded;
mod embedded_image;
mod podman;
mod vm;

use hythe_driver_embedded::NetworkBy;
use hythe_spec::ImageRef;

use crate::environment::Environment;
use crate::subject::Connected;

/// Connects those that are up.
pub(crate) async fn all(environment: &Environment, image: &ImageRef) -> Vec<Connected> {
    let mut subjects = Vec::new();
    if let Some(engine) = &environment.podman {
        subjects.push(("podman", podman::subject(engine, environment, image).await));
    }
    if let Some(engine) = &environment.docker {
        subjects.push(("docker", docker::subject("docker", engine, environment, image).await));
    }
    if let Some(engine) = &environment.podman_api {
        subjects.push(("podman-api", docker::subject("podman-api", engine, environment, image).await));
    }
    if let Some(engine) = environment.containerd.as_ref().filter(|_| rustix::process::geteuid().is_root()) {
        subjects.push(("containerd", containerd::subject(engine, environment, image).await));
    }
    for (name, network) in [("embedded", NetworkBy::Native), (embedded::BY_PLUGINS, NetworkBy::Cni)] {
        if let Some(subject) = embedded::subject(environment, image, network).await.transpose() {
            subjects.push((name, subject));
        }
    }
    if let Some(subject) = vm::subject(environment, image).await.transpose() {
        subjects.push(("vm", subject));
    }
    subjects
}

/// What an unprivileged user has.
pub(crate) async fn rootless(environment: &Environment, image: &ImageRef) -> Vec<Connected> {
    let subject = embedded::subject(environment, image, NetworkBy::Native).await.transpose();
    subject.map(|subject| (crate::rootless::name(), subject)).into_iter().collect()
}
