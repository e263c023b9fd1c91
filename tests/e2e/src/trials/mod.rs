//! The trials, by what a user does.

mod autostart;
mod concurrent;
mod crash;
mod database;
mod drift;
mod dry_run;
mod exit_codes;
mod file;
mod images;
mod logs;
mod look;
mod permissions;
mod policy;
mod rollback;
mod shop;
mod words;

use crate::trial::Trial;

/// Every trial there is.
pub(crate) fn all() -> Vec<Trial> {
    [
        autostart::trials(),
        concurrent::trials(),
        crash::trials(),
        database::trials(),
        drift::trials(),
        dry_run::trials(),
        exit_codes::trials(),
        file::trials(),
        images::trials(),
        logs::trials(),
        look::trials(),
        permissions::trials(),
        policy::trials(),
        rollback::trials(),
        shop::trials(),
        words::trials(),
    ]
    .concat()
}
