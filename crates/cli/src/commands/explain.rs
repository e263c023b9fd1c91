//! `hythe explain`: what a driver would give its engine.

use hythe_api::{Explain, Explained, SecretsQuery};

use super::connect;
use super::deploy::desired;
use crate::args;
use crate::output::Printer;
use crate::report::Outcome;

pub(super) async fn run(args: args::Explain, printer: Printer<'_>) -> Outcome {
    let desired = desired(&args.target, printer)?;
    let client = connect(printer).await?;
    let service = desired.service(&client).await?;
    let query = SecretsQuery { show_secrets: args.show_secrets };
    let explained = client.explain(&Explain { service, runtime: args.runtime }, &query).await?;
    if printer.settings.json {
        return printer.json(&explained);
    }
    explained.iter().try_for_each(|one| show(one, printer))
}

fn show(explained: &Explained, printer: Printer<'_>) -> Outcome {
    printer.talk(format_args!("# {} on {}", explained.component, explained.runtime));
    if explained.image_health {
        printer.talk("# health: the check of its image, where that has one");
    }
    printer.json(&explained.native)
}
