//! The trials, by what a user does.

mod adopt;
mod alerts;
mod autostart;
mod concurrent;
mod crash;
mod crash_points;
mod database;
mod demo;
mod drift;
mod dry_run;
mod events;
mod exit_codes;
mod faults;
mod file;
mod full_disk;
mod gc;
mod images;
mod instances;
mod logs;
mod look;
mod memory;
mod permissions;
mod policy;
mod purge;
mod rollback;
mod shop;
mod snapshot;
mod sync;
mod upgrade;
mod words;

use crate::trial::Trial;

/// Every trial there is.
pub(crate) fn all() -> Vec<Trial> {
    [
        alerts::trials(),
        adopt::trials(),
        autostart::trials(),
        concurrent::trials(),
        crash::trials(),
        crash_points::trials(),
        database::trials(),
        demo::trials(),
        drift::trials(),
        dry_run::trials(),
        events::trials(),
        exit_codes::trials(),
        faults::trials(),
        file::trials(),
        full_disk::trials(),
        gc::trials(),
        images::trials(),
        instances::trials(),
        logs::trials(),
        look::trials(),
        memory::trials(),
        permissions::trials(),
        policy::trials(),
        purge::trials(),
        rollback::trials(),
        shop::trials(),
        snapshot::trials(),
        sync::trials(),
        upgrade::trials(),
        words::trials(),
    ]
    .concat()
}
