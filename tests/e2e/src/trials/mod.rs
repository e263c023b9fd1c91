//! The trials, by what a user does.

mod adopt;
mod alerts;
mod api;
mod api_limits;
mod autostart;
mod changes;
mod checks;
mod concurrent;
mod crash;
mod crash_points;
mod data;
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
mod grants;
mod health;
mod images;
mod instances;
mod logs;
mod look;
mod memory;
mod order;
mod permissions;
mod policy;
mod prune;
mod purge;
mod replacement;
mod rollback;
mod secrets;
mod shop;
mod snapshot;
mod streams;
mod surroundings;
mod sync;
mod terminal;
mod two_agents;
mod upgrade;
mod words;

use crate::trial::Trial;

/// Every trial there is.
pub(crate) fn all() -> Vec<Trial> {
    [
        alerts::trials(),
        secrets::trials(),
        adopt::trials(),
        data::trials(),
        api::trials(),
        api_limits::trials(),
        autostart::trials(),
        checks::trials(),
        changes::trials(),
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
        grants::trials(),
        health::trials(),
        images::trials(),
        instances::trials(),
        logs::trials(),
        look::trials(),
        memory::trials(),
        order::trials(),
        permissions::trials(),
        policy::trials(),
        prune::trials(),
        purge::trials(),
        replacement::trials(),
        rollback::trials(),
        shop::trials(),
        snapshot::trials(),
        streams::trials(),
        surroundings::trials(),
        sync::trials(),
        terminal::trials(),
        two_agents::trials(),
        upgrade::trials(),
        words::trials(),
    ]
    .concat()
}
