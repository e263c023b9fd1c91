//! What moves files in and out of workloads.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Copy files between a workload and this host
///
/// A directory is copied with all below it: into DESTINATION where that is a directory, as DESTINATION where there is none. With `/.` behind the
/// source, what is in it is copied and not itself. Works whether the workload runs or not; volumes are where the workload has them. Symbolic links
/// are copied as links. Sockets and devices are left out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe cp shop/web:/etc/nginx/nginx.conf .
  hythe cp ./site/. shop/web:/srv/site
  hythe cp -a shop/db:/data ./backup
  hythe cp shop/web:/var/log - | tar -tf -
  tar -c assets | hythe cp - shop/web:/srv

Copied into a workload, files are root's; copied from it, they are yours. With -a they keep their owners, here as root only.")]
pub(crate) struct Cp {
    /// Keep the owners of files
    #[arg(long, short)]
    pub(crate) archive: bool,
    /// Follow a symbolic link at SOURCE
    #[arg(long, short = 'L')]
    pub(crate) follow_link: bool,
    /// `shop/web:/path`, a path of this host, or `-` for a tar archive on stdin
    #[arg(value_name = "SOURCE", value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,
    /// `shop/web:/path`, a path of this host, or `-` for a tar archive on stdout
    #[arg(value_name = "DESTINATION", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: String,
}

/// Export and import the data of workloads
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe data export shop/db -o db.tar
  hythe data import shop/db db.tar")]
pub(crate) struct Data {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    Export(ExportData),
    Import(ImportData),
}

/// Write a volume or directory of a workload to a tar archive
///
/// Owners, modes, times and links are kept. The archive ends with a checksum, so that `hythe data import` knows whether it is complete; every tar
/// reads it. While the workload runs, files are as they were at different times: stop it first for one moment of all files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe data export shop/db -o db.tar                 its only volume
  hythe data export shop/db:data -o data.tar          the volume `data`
  hythe data export shop/web:/srv/site | zstd > site.tar.zst
  hythe data export shop/db -o db.tar --json | jq -r .sha256")]
pub(crate) struct ExportData {
    /// `shop/db` for its only volume, `shop/db:VOLUME`, or `shop/db:/path`
    #[arg(value_name = "WORKLOAD[:VOLUME|PATH]")]
    pub(crate) target: String,
    /// File that is written, `-` for stdout
    #[arg(long, short, value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}

/// Extract an archive of `hythe data export` into a volume or directory of a workload
///
/// Files of the archive replace those of the same name; others stay. Refused while the workload, or another with the same volume, runs. An archive
/// from a file is checked before anything is written; one from stdin as it comes, and then what came before a fault may be there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe stop shop && hythe data import shop/db db.tar && hythe start shop
  hythe data import shop/db:data data.tar
  hythe data import --live shop/web:/srv/site site.tar
  zstd -dc site.tar.zst | hythe data import --live shop/web:/srv/site -
  hythe data import --unchecked shop/db other.tar     an archive of another program")]
pub(crate) struct ImportData {
    /// `shop/db` for its only volume, `shop/db:VOLUME`, or `shop/db:/path` of a directory
    #[arg(value_name = "WORKLOAD[:VOLUME|PATH]")]
    pub(crate) target: String,
    /// Archive, `-` for stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Also while the workload runs
    #[arg(long)]
    pub(crate) live: bool,
    /// Also without a checksum
    #[arg(long)]
    pub(crate) unchecked: bool,
}
