//! The one written form of a mount: docker's long one, which reads back.

use std::fmt;

use crate::{Mount, MountSource};

impl fmt::Display for Mount {
    /// `type=volume,source=data,target=/data`; `external` and SELinux relabelling have no place in this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            MountSource::Volume { name, external: _ } => write!(f, "type=volume,source={name}")?,
            MountSource::Bind { path, .. } => write!(f, "type=bind,{}", field("source", path))?,
            MountSource::Tmpfs { .. } => f.write_str("type=tmpfs")?,
        }
        write!(f, ",{}", field("target", &self.target))?;
        if self.read_only {
            f.write_str(",readonly")?;
        }
        match &self.source {
            MountSource::Volume { .. } => Ok(()),
            MountSource::Bind { propagation, .. } => {
                propagation.iter().try_for_each(|word| write!(f, ",bind-propagation={word}"))
            }
            MountSource::Tmpfs { size, mode, options } => {
                let prefix = |word: &str| if word.starts_with("size=") { "tmpfs-" } else { "" };
                options.words().iter().try_for_each(|word| write!(f, ",{}{word}", prefix(word)))?;
                size.iter().try_for_each(|size| write!(f, ",tmpfs-size={size}"))?;
                mode.iter().try_for_each(|mode| write!(f, ",tmpfs-mode={mode:o}"))
            }
        }
    }
}

fn field(key: &str, value: &str) -> String {
    if value.contains([',', '"']) {
        format!("\"{key}={}\"", value.replace('"', "\"\""))
    } else {
        format!("{key}={value}")
    }
}
