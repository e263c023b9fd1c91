//! A permission profile: inline, or a file of its own in TOML or JSON.

use super::super::decode::{At, table};

table! {
    /// What a component may do. Capabilities are dropped but those in `cap_add`, there is no network but what
    /// `network.outbound` opens, unless `profile` names a wider base.
    pub struct PermissionsFile requires [] {
        /// Name shown for it.
        pub name: String,
        /// Built-in profile it starts from: `none` (default), `network` or `standard`.
        pub profile: String,
        /// Paths mounted read-only: `path` or `host:container`.
        pub read: Vec<At<String>>,
        /// Paths mounted writable: `path` or `host:container`; wins over `read` of the same target.
        pub write: Vec<At<String>>,
        /// What it reaches, and who reaches it.
        pub network: NetworkFile,
        /// Capabilities it keeps, such as `NET_BIND_SERVICE`.
        pub cap_add: Vec<At<String>>,
        /// Capabilities taken from the base profile; `ALL` for every one.
        pub cap_drop: Vec<At<String>>,
        /// `default`, `unconfined`, or the path of a profile.
        pub seccomp: String,
        /// Executing a file cannot raise privileges. Default: true.
        pub no_new_privileges: bool,
        /// Everything of the host; must also be allowed in the agent's configuration. Default: false.
        pub privileged: bool,
    }
}

table! {
    /// What a component reaches, and who reaches it.
    pub struct NetworkFile requires [] {
        /// `none` closes the network; `bridge` or `default` is what the component's `network` says.
        pub mode: String,
        /// What may be reached.
        pub outbound: OutboundFile,
        /// Who may connect.
        pub inbound: InboundFile,
    }
}

table! {
    /// What may be reached; nothing where all of it is empty.
    pub struct OutboundFile requires [] {
        /// Everything.
        pub insecure_allow_all: bool,
        /// Only these host names; a leading dot includes subdomains.
        pub allow_host: Vec<At<String>>,
        /// Only these ports.
        pub allow_port: Vec<At<i64>>,
    }
}

table! {
    /// Who may connect.
    pub struct InboundFile requires [] {
        /// Host names; empty: not restricted beyond the published addresses.
        pub allow_host: Vec<At<String>>,
    }
}
