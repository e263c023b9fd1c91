//! `hythe validate`: a service file, checked without an agent.

use crate::args::Validate;
use crate::output::Printer;
use crate::report::{Failure, Outcome};
use crate::service_file;

pub(super) fn run(args: &Validate, printer: Printer<'_>) -> Outcome {
    let path = service_file::in_directory(&args.file);
    match service_file::load(&path, printer) {
        Ok(loaded) if printer.settings.json => printer.json(&loaded.service),
        Ok(loaded) => {
            let components = match loaded.service.components.len() {
                1 => "1 component".to_owned(),
                count => format!("{count} components"),
            };
            printer.talk(format_args!(
                "`{}` is valid: service `{}`, {components}",
                path.display(),
                loaded.service.name
            ));
            Ok(())
        }
        Err(Failure::Invalid(diagnostics)) if printer.settings.json => {
            printer.json(&diagnostics)?;
            Err(Failure::Exit(Failure::Invalid(diagnostics).exit_code()))
        }
        Err(failure) => Err(failure),
    }
}
