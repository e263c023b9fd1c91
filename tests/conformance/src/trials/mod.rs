//! The trials, by area.

mod archive_contents;
mod archives;
mod attach;
mod build;
mod cancel;
mod config;
mod events;
mod exec;
mod exit;
mod files;
mod filesystem_isolation;
mod grants;
mod images;
pub(crate) mod isolation;
mod lifecycle;
mod limits;
mod listing;
mod load;
mod logs;
mod network;
mod networks;
mod process_isolation;
mod refusal;
mod secrets;
mod security;
mod signal;
mod snapshot_life;
mod snapshots;
mod stats;
mod stop;
mod unreachable;
mod volumes;

use crate::trial::Trial;

/// Every trial, in the order of the matrix.
pub(crate) fn all() -> Vec<Trial> {
    [
        lifecycle::trials(),
        listing::trials(),
        exit::trials(),
        stop::trials(),
        signal::trials(),
        logs::trials(),
        exec::trials(),
        attach::trials(),
        events::trials(),
        config::trials(),
        files::trials(),
        secrets::trials(),
        limits::trials(),
        grants::trials(),
        security::trials(),
        process_isolation::trials(),
        filesystem_isolation::trials(),
        isolation::trials(),
        network::trials(),
        networks::trials(),
        volumes::trials(),
        archive_contents::trials(),
        archives::trials(),
        images::trials(),
        load::trials(),
        build::trials(),
        snapshots::trials(),
        snapshot_life::trials(),
        stats::trials(),
        refusal::trials(),
        cancel::trials(),
        unreachable::trials(),
    ]
    .concat()
}
