//! Podman, behind its program.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_driver_podman::Config;
use hythe_runtime::Runtime;
use hythe_runtime::layers::{Settings, standard};
use hythe_spec::{ImageRef, Millis};

use crate::engine_cli::PodmanHand;
use crate::environment::{Environment, Program};
use crate::failure::Outcome;
use crate::need::Need;
use crate::subject::{Breakable, Subject};

async fn connect(program: &Path) -> Outcome<Arc<dyn Runtime>> {
    // On a busy host it is slow and not gone.
    let config = Config { program: program.to_owned(), connect_timeout: Millis(60_000), ..Config::default() };
    let podman = hythe_driver_podman::connect(config).await?;
    Ok(standard(Arc::new(podman), &Settings::default()))
}

pub(super) async fn subject(engine: &Program, environment: &Environment, image: &ImageRef) -> Outcome<Subject> {
    let program = engine.program.clone();
    Ok(Subject {
        name: "podman",
        runtime: connect(&program).await?,
        real: true,
        image: image.clone(),
        engine_cli: Some(Box::new(PodmanHand::new(program.clone()))),
        breakable: Some(Box::new(move || Box::pin(breakable(program.clone())))),
        registry: environment.registry.as_ref().map(|registry| registry.address.clone()),
        registry_auth: environment.registry_auth.as_ref().map(|registry| registry.address.clone()),
        without: vec![(Need::SizedAttach, "`podman attach` passes input on before it has set the size")],
    })
}

/// A program that is podman until a file appears; from then on it prints nonsense and exits with 125, as a broken one does,
/// and what it had started is gone.
async fn breakable(program: PathBuf) -> Outcome<Breakable> {
    // Beside the environment's program, with which it goes away.
    let directory = tempfile::tempdir_in(program.parent().unwrap_or(Path::new("/tmp")))?;
    let script = directory.path().join("podman");
    let broken = directory.path().join("broken");
    let pids = directory.path().join("pids");
    let text = format!(
        "#!/bin/sh\nif [ -e '{broken}' ]; then echo 'Error: {{\\0garbage' >&2; echo nonsense; exit 125; fi\n\
         echo $$ >> '{pids}'\nexec '{program}' \"$@\"\n",
        broken = broken.display(),
        pids = pids.display(),
        program = program.display(),
    );
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    let runtime = connect(&script).await?;
    let sever = Box::new(move || {
        std::fs::write(&broken, "").unwrap();
        kill_all(&pids);
        // The program must stay there to be run.
        let _kept = directory.keep();
    });
    Ok(Breakable { runtime, sever })
}

/// Kills what the script became, where the number still belongs to such a process.
fn kill_all(pids: &Path) {
    let text = std::fs::read_to_string(pids).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.trim().parse::<i32>().ok()) {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&command).contains("podman");
        if let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| ours) {
            // One that has just ended needs no killing.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
