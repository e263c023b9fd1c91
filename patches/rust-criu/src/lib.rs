//! What `libcontainer` names of the crate `rust-criu`, without CRIU: no handle can be made, so that every checkpoint is refused with [`Absent`].
#![allow(missing_docs, clippy::missing_errors_doc, reason = "the names and shapes are those of the real crate")]

use std::convert::Infallible;
use std::fmt;
use std::os::fd::RawFd;

/// Why there is no handle.
#[derive(Debug)]
pub struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("this program is built without CRIU")
    }
}

impl std::error::Error for Absent {}

#[derive(Clone)]
pub enum CgMode {
    DEFAULT,
}

/// There is none.
pub struct Criu(Infallible);

impl Criu {
    pub fn new() -> Result<Self, Absent> {
        Err(Absent)
    }

    pub fn get_criu_version(&mut self) -> Result<u32, Absent> {
        match self.0 {}
    }

    pub fn dump(&mut self) -> Result<(), Absent> {
        match self.0 {}
    }
}

macro_rules! options {
    ($($name:ident($($kind:ty),+);)+) => {
        impl Criu {
            $(pub fn $name(&mut self, $(_: $kind),+) {
                match self.0 {}
            })+
        }
    };
}

options! {
    set_pid(i32);
    set_images_dir_fd(RawFd);
    set_work_dir_fd(RawFd);
    set_log_level(i32);
    set_log_file(String);
    set_external_mount(String, String);
    add_external(String);
    set_orphan_pts_master(bool);
    set_root(String);
    set_leave_running(bool);
    set_ext_unix_sk(bool);
    set_shell_job(bool);
    set_tcp_established(bool);
    set_file_locks(bool);
    set_manage_cgroups(bool);
    cgroups_mode(CgMode);
    set_link_remap(bool);
}

pub fn criu_ns_to_key(name: &str) -> String {
    format!("extRoot{name}NS")
}
