//! The top of a service file.

use super::super::decode::{At, table};
use super::super::shapes::{Map, Or};
use super::{ComponentFile, TableOrList};
use crate::file::shapes::Scalar;
use crate::{Drift, RuntimeKind};

table! {
    /// A service: a name and the components that are deployed together.
    pub struct ServiceFile requires [name, components] {
        /// DNS label, at most 40 characters. Workloads are named `<service>-<component>`.
        pub name: String,
        /// Runtime of components that name none; absent: the first one that can honour the component.
        #[schemars(with = "Option<RuntimeKind>")]
        pub runtime: String,
        /// Directory that relative paths of this file start in; absent: the file's own.
        pub path: String,
        /// Reserved for naming another agent; not accepted yet.
        pub node: String,
        /// `false` keeps the service deployed but stopped. Default: true.
        pub active: bool,
        /// What is done about out-of-band changes: `report` (default) or `heal`.
        #[schemars(with = "Option<Drift>")]
        pub drift: String,
        /// How images are built.
        pub build: BuildFile,
        /// Secrets of this service, by name: where their values are read when it is deployed.
        pub secrets: Map<SecretSourceTable>,
        /// Labels put on every instance, as a table or a list of `KEY=VALUE`.
        pub labels: TableOrList<Scalar>,
        /// The components, at least one.
        pub components: Vec<At<ComponentFile>>,
    }
}

table! {
    /// Where the value of a secret is read: exactly one of `file` and `environment`.
    pub struct SecretSourceTable requires [] {
        /// Path of a file whose content it is.
        pub file: String,
        /// Variable of the caller's environment.
        pub environment: String,
    }
}

table! {
    /// How images are built.
    pub struct BuildFile requires [] {
        /// Per image a Dockerfile, or a table with `context` and `dockerfile`.
        pub images: Map<Or<String, BuildTable>>,
    }
}

table! {
    /// How one image is built.
    pub struct BuildTable requires [] {
        /// Directory with the build's files. Default: the service's `path`.
        pub context: String,
        /// Dockerfile, relative to `context`. Default: `Dockerfile`.
        pub dockerfile: String,
    }
}
