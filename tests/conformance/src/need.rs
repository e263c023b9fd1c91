//! What a trial needs of the runtime it judges.

use hythe_runtime::{Feature, Support};

use crate::subject::Subject;

/// One thing that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A real engine with a kernel below it.
    Real,
    /// Somebody who can reach into the engine past the driver.
    EngineCli,
    /// A part of a plan that the runtime honours.
    Can(Feature),
    /// A part of a plan that the runtime refuses.
    Cannot(Feature),
    Images,
    Logs,
    Exec,
    Stats,
    Networks,
    Volumes,
    Snapshots,
    Archives,
    /// This program may mount file systems.
    Root,
    /// A registry with the test image.
    Registry,
    /// A registry that wants credentials, and has none from us.
    RegistryAuth,
    /// A second connection of the same driver that can be broken.
    Breakable,
    /// The host has an IPv6 loopback.
    Ipv6,
    /// Somebody who can pause instances.
    Pause,
    /// Files can belong to any user.
    Owners,
    /// Archives keep the setuid bit of a file with more than one name.
    ArchiveSetuid,
    /// Files of the image reach an empty volume past links that others put into it.
    CopyUp,
    /// The network of a build's commands is as asked.
    NetworkedBuild,
    /// Images are built.
    Build,
    /// Images are pushed.
    Push,
    /// A terminal has its size when its process starts.
    SizedStart,
    /// An attached terminal has its size before what is typed.
    SizedAttach,
    /// The host can mount a snapshot.
    SnapshotMounts,
    /// The main process is the first one where nothing else is asked for.
    FirstProcess,
    /// Two running instances have one volume.
    SharedVolumes,
    /// A C compiler that links statically.
    Compiler,
}

impl Need {
    /// Why it is not met; `None`: it is.
    pub(crate) fn unmet(self, subject: &Subject) -> Option<String> {
        let runtime = &subject.runtime;
        let (met, reason) = match self {
            Self::Real => (subject.real, "needs a real engine".to_owned()),
            Self::EngineCli => (subject.engine_cli.is_some(), "nobody can reach into the engine".to_owned()),
            Self::Can(feature) => return lacks(subject, feature),
            Self::Cannot(feature) => {
                let can = runtime.capability().supports(feature);
                (!can, format!("this runtime honours `{}`", feature.describe()))
            }
            Self::Images => (runtime.images().is_some(), "no images facet".to_owned()),
            Self::Logs => (runtime.logs().is_some(), "no logs facet".to_owned()),
            Self::Exec => (runtime.exec().is_some(), "no exec facet".to_owned()),
            Self::Stats => (runtime.stats().is_some(), "no stats facet".to_owned()),
            Self::Networks => (runtime.networks().is_some(), "no networks facet".to_owned()),
            Self::Volumes => (runtime.volumes().is_some(), "no volumes facet".to_owned()),
            Self::Archives => (runtime.archives().is_some(), "no archives facet".to_owned()),
            Self::Snapshots => (runtime.snapshots().is_some(), "no snapshots facet".to_owned()),
            Self::Root => (rustix::process::geteuid().is_root(), "only root mounts file systems".to_owned()),
            Self::Registry => (subject.registry.is_some(), "no registry is up".to_owned()),
            Self::RegistryAuth => {
                let reason = "no registry that wants credentials is up".to_owned();
                (subject.registry_auth.is_some(), reason)
            }
            Self::Breakable => (subject.breakable.is_some(), "cannot be broken on purpose".to_owned()),
            Self::Pause
            | Self::Owners
            | Self::ArchiveSetuid
            | Self::CopyUp
            | Self::NetworkedBuild
            | Self::Build
            | Self::Push
            | Self::SizedStart
            | Self::SizedAttach
            | Self::FirstProcess
            | Self::SharedVolumes
            | Self::SnapshotMounts => {
                let lacking = subject.without.iter().find(|(need, _)| *need == self);
                (lacking.is_none(), lacking.map_or_else(String::new, |(_, why)| (*why).to_owned()))
            }
            Self::Compiler => {
                let there = std::process::Command::new("cc").arg("--version").output().is_ok();
                (there, "there is no `cc`".to_owned())
            }
            Self::Ipv6 => {
                let bound = std::net::UdpSocket::bind("[::1]:0").is_ok();
                (bound, "the host has no IPv6 loopback".to_owned())
            }
        };
        (!met).then_some(reason)
    }
}

fn lacks(subject: &Subject, feature: Feature) -> Option<String> {
    let table = subject.runtime.capability().table();
    let support = table.into_iter().find(|(other, _)| *other == feature);
    match support {
        Some((_, Support::Yes)) => None,
        Some((_, Support::No { reason })) => Some(format!("no {}: {reason}", feature.describe())),
        None => Some(format!("no {}", feature.describe())),
    }
}
