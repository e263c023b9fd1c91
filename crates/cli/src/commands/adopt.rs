//! `hythe adopt`: the container goes on as it is; its service file is the answer.

use hythe_api::Adopt;

use super::connect;
use crate::args;
use crate::output::Printer;
use crate::report::Outcome;

pub(super) async fn run(args: args::Adopt, printer: Printer<'_>) -> Outcome {
    let args::Adopt { instance, runtime, service, component, force } = args;
    let asked = Adopt { instance, runtime, service, component, force };
    let adopted = connect(printer).await?.adopt(&asked).await?;
    adopted.warnings.iter().for_each(|warning| printer.warn(warning));
    if printer.settings.json {
        return printer.json(&adopted);
    }
    printer.talk(format_args!(
        "took over `{}` as workload `{}` on {}; its service file follows",
        asked.instance, adopted.workload, adopted.runtime
    ));
    printer.data(hythe_spec::render(&adopted.service, &[]))
}
